package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Rule grants a user, or the members of a group, operations with algorithms on keysets.
type Rule struct {
	// Name of the caller in the configuration, for messages.
	Name string
	// UID of the user. Exactly one of UID and GID is given.
	UID *uint32
	// GID of a group that the caller is in, be it the primary one or a supplementary one.
	GID *uint32
	// Keysets that are granted; All stands for every one.
	Keysets []string
	// Operations that are granted; All stands for every one.
	Operations []Operation
	// Algorithms that are granted for operations that sign; All stands for every one.
	Algorithms []jose.SignatureAlgorithm
	// Types are the typ values granted for JWT and ClientAssertion: media types, compared as
	// such (RFC 7515 §4.1.9: in any case, with or without "application/"). Empty: every
	// one that the keyset allows.
	Types []string
	// ClientIDs that are granted for ClientAssertion, compared exactly; All stands for every
	// one. Required where that operation is granted.
	ClientIDs []string
	// Audiences that are granted for JWT and ClientAssertion, compared exactly: all that aud
	// names must be among them, and it must name one. Empty: any, and none.
	Audiences []string
	// Claims is an expression in CEL over claims, header, caller and now that must be true
	// for JWT and ClientAssertion. Empty: it is. See expression.
	Claims string
	// Rate is how many signatures and decryptions a second may be made by this rule in the long
	// run, by all members of its group together. 0: no limit for signatures; decryptions are then
	// 20 a second, and 40 at once.
	Rate float64
	// Burst is how many of them may follow each other at once. 0: as many as Rate gives in a
	// second, and at least one.
	Burst int
	// Priority from 0 to 9 in the queue of the token; what has more is served first.
	Priority int
}

// Bounds of what a rule says.
const (
	maxPriority = 9
	maxRate     = 1e6 // a second
	maxBurst    = 1e6
	maxRefill   = 365 * 24 * 3600 // seconds until a spent burst is there again
)

// limit names what keeps the rule, which grants JWT or ClientAssertion, from granting every token or
// assertion: the field of the configuration. Empty where nothing does.
func (r Rule) limit() string {
	switch {
	case !r.issues():
		return ""
	case len(r.Types) > 0:
		return "types"
	case len(r.Audiences) > 0:
		return "audiences"
	case r.Claims != "":
		return "claims"
	case r.grants(ClientAssertion) && !slices.Contains(r.ClientIDs, All):
		return "client_ids"
	}
	return ""
}

func (r Rule) issues() bool { return r.grants(JWT) || r.grants(ClientAssertion) }

func (r Rule) grants(op Operation) bool {
	return slices.Contains(r.Operations, op) || slices.Contains(r.Operations, All)
}

// check refuses a rule that cannot grant what it seems to, or limits what it does not grant.
func (r Rule) check(opts Options) error {
	if err := r.checkWho(opts); err != nil {
		return err
	}
	signs := slices.ContainsFunc(r.Operations, Operation.Signs)
	switch {
	case len(r.Keysets) == 0:
		return errors.New(`no keysets are granted; name some, or "*"`)
	case len(r.Operations) == 0:
		return errors.New(`no operations are granted; name some, or "*"`)
	case len(r.Algorithms) == 0 && signs:
		return errors.New(`no algorithms are granted to sign with; name some, or "*"`)
	case len(r.ClientIDs) == 0 && r.grants(ClientAssertion):
		return errors.New(`no client ids are granted to make assertions for; name some, or "*"`)
	case len(r.ClientIDs) > 0 && !r.grants(ClientAssertion):
		return errors.New("client ids are for operation client-assertion, which is not granted; leave them out")
	case slices.Contains(r.Types, All) || slices.Contains(r.Audiences, All):
		return errors.New(`"*" does not stand for every typ or audience; leave them out to grant every one`)
	case !r.issues() && (len(r.Types) > 0 || len(r.Audiences) > 0 || r.Claims != ""):
		return errors.New("types, audiences and claims limit operations jwt and client-assertion, and neither is granted; leave them out")
	case r.Priority < 0 || r.Priority > maxPriority:
		return fmt.Errorf("priority %d is not from 0 to %d", r.Priority, maxPriority)
	}
	if r.limit() != "" && r.grants(Sign) {
		if keyset, ok := opts.common(r.Keysets, r.Keysets); ok {
			return r.beside("", keyset)
		}
	}
	return r.checkRate()
}

func (r Rule) checkWho(opts Options) error {
	switch {
	case (r.UID == nil) == (r.GID == nil):
		return errors.New("exactly one of uid and gid names who it is")
	case r.UID != nil && *r.UID == opts.OverflowUID:
		return fmt.Errorf("uid %d is the kernel's overflow uid, which stands for every user of other user namespaces; give the service a uid of its own", *r.UID)
	case r.GID != nil && *r.GID == opts.OverflowGID:
		return fmt.Errorf("gid %d is the kernel's overflow gid, which stands for every group of other user namespaces; give the services a group of their own", *r.GID)
	case r.UID != nil && *r.UID == noID:
		return fmt.Errorf("uid %d is no user's", *r.UID)
	case r.GID != nil && *r.GID == noID:
		return fmt.Errorf("gid %d is no group's", *r.GID)
	}
	return nil
}

func (r Rule) checkRate() error {
	switch {
	case r.Rate == 0 && r.Burst == 0:
		return nil
	case !slices.ContainsFunc(r.Operations, Operation.UsesKey):
		return errors.New("rate and burst count signatures and decryptions, and no operation that signs or decrypts is granted; leave them out")
	case r.Rate == 0:
		return errors.New("burst goes with a rate; give one, or leave burst out")
	case math.IsNaN(r.Rate) || r.Rate < 0 || r.Rate > maxRate:
		return fmt.Errorf("rate must be more than 0 and at most %d a second; leave it out for no limit", int(maxRate))
	case r.Burst < 0 || r.Burst > maxBurst:
		return fmt.Errorf("burst must be from 1 to %d", int(maxBurst))
	case float64(r.burst())/r.Rate > maxRefill:
		return errors.New("rate is so low that a spent burst is not there again within a year; give a higher rate or a lower burst")
	}
	return nil
}

// owner is Verdict.Owner.
func (r Rule) owner() string {
	if w := r.who(); !w.group {
		return w.String()
	}
	return "group rule " + r.Name
}

// burst is Burst with its default.
func (r Rule) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return max(1, int(r.Rate))
}
