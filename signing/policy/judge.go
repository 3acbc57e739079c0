package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Request is a whole request, as it will be carried out if it is granted.
type Request struct {
	Operation Operation
	Keyset    string                  // counts for all operations but Admin
	Alg       jose.SignatureAlgorithm // counts for operations that sign
	Typ       string                  // the header's typ, for JWT and ClientAssertion
	ClientID  string                  // for ClientAssertion
	// Claims and Header are the JSON as it will be signed, for JWT and ClientAssertion.
	Claims, Header []byte
	// Now is the time that expressions see, in whole seconds.
	Now time.Time
}

// Verdict is what became of a Request.
type Verdict struct {
	Granted bool
	// Rule is the name of the one that grants it. Empty where none does, and where root or the
	// daemon's own user reads without one.
	Rule string
	// Priority from 0 to 9, that rule's; 5 without a rule.
	Priority int
	// Reason is one line that says what stands against it; empty when Granted. Of the
	// token it repeats typ, client id and aud, clipped, and no other claim.
	Reason string
	// Owner of the request's share of the token: the user ("uid 1001") where a rule for a uid
	// grants it; a rule for a group (`group rule NAME`) has one share for all that come by it, so
	// that many users do not outnumber a service. Empty without a rule.
	Owner string
	// Reserve takes n signatures or decryptions out of what the rule's rate leaves all that come by it. If it
	// does not leave so many, nothing is taken and retry tells in how long it will, if
	// nobody else asks. More than the burst are to be had when all of it is there, and what follows
	// waits the longer. Nil: there is no limit, or nothing to count. How much was taken is forgotten
	// with the Policy.
	Reserve func(n int, now time.Time) (retry time.Duration, ok bool)
}

const usualPriority = 5

// Judge judges a whole request. It grants nothing that Decide refuses. Where several rules grant
// it, it is granted by the one with the highest priority, of these by the one with the highest
// rate, of these by the first; its rate alone is counted. Where all are limited and
// none grants it, Reason is about the one that comes first in this order.
func (p *Policy) Judge(c Caller, r Request) Verdict {
	var granted, refused *grant
	var reason string
	var f facts
	for g := range p.all(c) {
		if granted != nil && granted.rankFor(r.Operation) <= g.rankFor(r.Operation) || !g.covers(r.Operation, r.Keyset, r.Alg) {
			continue
		}
		against := g.against(c, r, &f)
		switch {
		case against == "":
			granted = g
		case refused == nil || g.rankFor(r.Operation) < refused.rankFor(r.Operation):
			refused, reason = g, against
		}
	}
	switch {
	case granted != nil:
		return granted.verdict(r.Operation)
	case r.Operation == Read && p.opts.reads(c):
		return Verdict{Granted: true, Priority: usualPriority}
	case refused != nil:
		return Verdict{Reason: fmt.Sprintf("caller %s grants uid %d operation %s on keyset %s, but %s", word(refused.rule.Name), c.UID, word(string(r.Operation)), word(r.Keyset), reason)}
	}
	return Verdict{Reason: p.refusal(c, r.Operation, r.Keyset, r.Alg)}
}

func (g *grant) verdict(op Operation) Verdict {
	v := Verdict{Granted: true, Rule: g.rule.Name, Priority: g.rule.Priority, Owner: g.owner}
	if limit := g.limit(op); limit != nil {
		v.Reserve = limit.reserve
	}
	return v
}

// against tells what of a token or an assertion the rule, which covers the request otherwise,
// does not grant; empty if it grants all.
func (g *grant) against(c Caller, r Request, f *facts) string {
	if r.Operation != JWT && r.Operation != ClientAssertion {
		return ""
	}
	if r.Operation == ClientAssertion && !in(g.clientIDs, r.ClientID) {
		if r.ClientID == "" {
			return fmt.Sprintf("for client_ids %s only; give client_id", shown(g.rule.ClientIDs))
		}
		return fmt.Sprintf("not for client id %s; it grants %s", shownValue(r.ClientID), shown(g.rule.ClientIDs))
	}
	if len(g.rule.Types) > 0 && !slices.ContainsFunc(g.rule.Types, func(t string) bool { return sameType(t, r.Typ) }) {
		has := "has none"
		if r.Typ != "" {
			has = "has " + shownValue(r.Typ)
		}
		return fmt.Sprintf("only with typ %s; this token %s", shown(g.rule.Types), has)
	}
	if g.audiences == nil && g.expression == nil {
		return ""
	}
	if err := f.read(c, r); err != nil {
		return err.Error()
	}
	if g.audiences != nil && !f.meantFor(g.audiences) {
		return fmt.Sprintf("only for aud %s; this token %s", shown(g.rule.Audiences), f.audience())
	}
	if g.expression != nil {
		return g.expression.against(f)
	}
	return ""
}

// sameType compares two typ values as media types (RFC 7515 §4.1.9). Only letters of ASCII have
// two cases there; what folds to one of them from outside is longer.
func sameType(a, b string) bool {
	a, b = mediaType(a), mediaType(b)
	return len(a) == len(b) && strings.EqualFold(a, b)
}

// mediaType returns typ without the "application/" that may be left out where no other slash
// follows.
func mediaType(typ string) string {
	const tree = "application/"
	if len(typ) > len(tree) && strings.EqualFold(typ[:len(tree)], tree) && !strings.Contains(typ[len(tree):], "/") {
		return typ[len(tree):]
	}
	return typ
}
