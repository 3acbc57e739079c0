// Package policy decides whether a caller may do what it asks for. The decision is a
// pure function of the rules, the caller as the kernel tells it, and the request; what no
// rule grants is refused.
//
// A rule is one grant and is judged whole: it covers a request when its uid, its keysets,
// its operations and its algorithms all do. Several rules for one uid add up as grants;
// they do not lend each other keysets or algorithms.
package policy

import (
	"fmt"
	"math"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
)

// Caller is a local process as the kernel tells it when its connection is accepted
// (SO_PEERCRED, unix(7)).
type Caller struct {
	UID uint32
	GID uint32
	PID int32 // 0 where the process lives in a PID namespace that ours cannot see
}

// Rule grants a uid operations with algorithms on keysets.
type Rule struct {
	// Name of the caller in the configuration, for messages.
	Name string
	UID  uint32
	// Keysets that are granted; All stands for every one.
	Keysets []string
	// Operations that are granted; All stands for every one.
	Operations []Operation
	// Algorithms that are granted for operations that sign; All stands for every one.
	Algorithms []jose.SignatureAlgorithm
}

// Options are the uids that stand apart.
type Options struct {
	// OverflowUID is what the kernel reports for a user that it cannot name in this user
	// namespace (/proc/sys/kernel/overflowuid, 65534 unless changed). It stands for
	// anybody, so it is refused everything. 0 is not a valid overflow uid.
	OverflowUID uint32
	// DaemonUID is the daemon's own uid. It and root may Read every keyset without a rule.
	DaemonUID uint32
}

// Policy is an immutable set of rules, safe for concurrent use.
type Policy struct {
	opts  Options
	byUID map[uint32][]grant
}

// noUID is (uid_t)-1, which is no user (POSIX chown).
const noUID = math.MaxUint32

// New returns the policy of these rules. It refuses rules that cannot grant what they
// seem to: a uid that is nobody's, or an empty list.
func New(rules []Rule, opts Options) (*Policy, error) {
	if opts.OverflowUID == 0 {
		return nil, fmt.Errorf("the kernel's overflow uid is given as 0, which is root's; read it from /proc/sys/kernel/overflowuid")
	}
	p := &Policy{opts: opts, byUID: make(map[uint32][]grant)}
	for _, r := range rules {
		switch {
		case r.UID == opts.OverflowUID:
			return nil, fmt.Errorf("caller %s: uid %d is the kernel's overflow uid, which stands for every user of other user namespaces; give the service a uid of its own", r.Name, r.UID)
		case r.UID == noUID:
			return nil, fmt.Errorf("caller %s: uid %d is no user's", r.Name, r.UID)
		case len(r.Keysets) == 0:
			return nil, fmt.Errorf("caller %s: no keysets are granted; name some, or \"*\"", r.Name)
		case len(r.Operations) == 0:
			return nil, fmt.Errorf("caller %s: no operations are granted; name some, or \"*\"", r.Name)
		case len(r.Algorithms) == 0 && slices.ContainsFunc(r.Operations, Operation.Signs):
			return nil, fmt.Errorf("caller %s: no algorithms are granted to sign with; name some, or \"*\"", r.Name)
		}
		p.byUID[r.UID] = append(p.byUID[r.UID], newGrant(r))
	}
	return p, nil
}

// Decision is what became of a request.
type Decision struct {
	Granted bool
	// Reason is one line that says what would have to be granted; empty when Granted.
	Reason string
}

// Decide judges one request. The algorithm counts only for operations that sign, the keyset
// for all but Admin.
func (p *Policy) Decide(c Caller, op Operation, keyset string, alg jose.SignatureAlgorithm) Decision {
	if c.UID == p.opts.OverflowUID || c.UID == noUID {
		return Decision{Reason: fmt.Sprintf("uid %d is the kernel's overflow uid, which stands for every user of other user namespaces; it is never granted anything: run the caller under a uid of the daemon's user namespace", c.UID)}
	}
	for _, g := range p.byUID[c.UID] {
		if g.covers(op, keyset, alg) {
			return Decision{Granted: true}
		}
	}
	if op == Read && (c.UID == 0 || c.UID == p.opts.DaemonUID) {
		return Decision{Granted: true}
	}
	return Decision{Reason: refusal(c, op, keyset, alg)}
}

// DecideAny judges a request that names no algorithm: it is granted if some algorithm is.
// Which one signs in the end is to be decided again.
func (p *Policy) DecideAny(c Caller, op Operation, keyset string) Decision {
	for _, alg := range jwa.All() {
		if d := p.Decide(c, op, keyset, alg); d.Granted {
			return d
		}
	}
	return p.Decide(c, op, keyset, All)
}

func refusal(c Caller, op Operation, keyset string, alg jose.SignatureAlgorithm) string {
	with := ""
	if op.Signs() {
		with = " with " + word(string(alg))
		if alg == All {
			with = " with any algorithm"
		} else if _, err := jwa.Parse(string(alg)); err != nil {
			with = " with an algorithm that does not exist"
		}
	}
	if op == Admin {
		return fmt.Sprintf("uid %d is not granted operation admin; add it under callers:", c.UID)
	}
	return fmt.Sprintf("uid %d is not granted operation %s%s on keyset %s; add it under callers:", c.UID, word(string(op)), with, word(keyset))
}

// word returns what a caller sent if it is a plain word, so that it cannot break or swell a line of the log.
func word(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
	}
	if s == "" || len(s) > 64 || slices.ContainsFunc([]rune(s), func(r rune) bool { return !plain(r) }) {
		return "(not a name)"
	}
	return s
}
