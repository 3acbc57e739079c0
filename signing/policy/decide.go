package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
)

// Decision is what became of a request.
type Decision struct {
	Granted bool
	// Reason is one line that says what would have to be granted; empty when Granted.
	Reason string
}

// Decide tells whether some rule could grant the operation, before more of the request is
// known; Judge has the last word. The algorithm counts only for operations that sign, the
// keyset for all but Admin.
func (p *Policy) Decide(c Caller, op Operation, keyset string, alg jose.SignatureAlgorithm) Decision {
	for g := range p.all(c) {
		if g.covers(op, keyset, alg) {
			return Decision{Granted: true}
		}
	}
	if op == Read && p.opts.reads(c) {
		return Decision{Granted: true}
	}
	return Decision{Reason: p.refusal(c, op, keyset, alg)}
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

func (p *Policy) refusal(c Caller, op Operation, keyset string, alg jose.SignatureAlgorithm) string {
	if p.opts.stranger(c) {
		return fmt.Sprintf("uid %d is the kernel's overflow uid, which stands for every user of other user namespaces; it is never granted anything: run the caller under a uid of the daemon's user namespace", c.UID)
	}
	if op == Admin {
		return fmt.Sprintf("uid %d is not granted operation admin; add it under callers:", c.UID)
	}
	with, hint := "", "add it under callers:"
	if granted := p.algorithms(c, op, keyset); len(granted) > 0 {
		hint = "it is granted " + strings.Join(granted, ", ")
		with = " with an algorithm that does not exist"
		if _, err := jwa.Parse(string(alg)); err == nil {
			with = " with " + string(alg)
		}
	}
	return fmt.Sprintf("uid %d is not granted operation %s%s on keyset %s; %s", c.UID, word(string(op)), with, word(keyset), hint)
}

// algorithms are those with which the operation is granted to the caller, if it is one that signs.
func (p *Policy) algorithms(c Caller, op Operation, keyset string) (granted []string) {
	if !op.Signs() {
		return nil
	}
	for _, alg := range jwa.All() {
		for g := range p.all(c) {
			if g.covers(op, keyset, alg) {
				granted = append(granted, string(alg))
				break
			}
		}
	}
	return granted
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
