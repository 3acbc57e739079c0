package rotation

import (
	"fmt"
	"time"
)

// Verifiers are all the verifiers that there could be: whoever may hold a body holds it.
// They hear of each swap of the page and tell what they could not verify. The tests of
// this directory's external package use them too.
type Verifiers struct {
	shown  Document // on the page, and for the signers
	body   bool     // the page has a JWKS body
	maxAge time.Duration

	stale   time.Time         // until when bodies of all pages before this one may be used
	without map[int]time.Time // for each generation: the same of pages without it
	stopped map[int]time.Time // when it signed last
	lost    map[int]bool      // it was seen to have lost a key
}

// Show swaps the page and the signers, and checks invariants 1 and 2.
func (v *Verifiers) Show(doc Document, policy Policy, maxAge time.Duration, now time.Time) error {
	if v.without == nil {
		v.without, v.stopped, v.lost = map[int]time.Time{}, map[int]time.Time{}, map[int]bool{}
	}
	before := v.shown
	if v.body {
		v.stale = latest(v.stale, now.Add(v.maxAge+policy.ClockSkew+policy.VerifierCache))
	}
	v.shown, v.body, v.maxAge = doc, len(doc.Generations) > 0, maxAge
	for _, g := range doc.Generations {
		v.lost[g.Number] = v.lost[g.Number] || g.impaired()
		if _, there := before.Find(g.Number); !there {
			v.without[g.Number] = v.stale
		}
	}
	old, signed := before.Active()
	active, signs := doc.Active()
	if signed && !signs {
		return fmt.Errorf("%v: nothing signs any more", now)
	}
	if signs && active.Number != old.Number {
		v.stopped[old.Number] = now
		if stale := v.without[active.Number]; now.Before(stale) {
			return fmt.Errorf("%v: generation %d signs, a body without it is used until %v", now, active.Number, stale)
		}
	}
	for _, g := range before.Generations {
		if _, there := doc.Find(g.Number); there {
			continue
		}
		stopped, ok := v.stopped[g.Number]
		if !ok && v.lost[g.Number] {
			stopped, ok = g.Retired, true // it should have signed and could not
		}
		if !ok || policy.RetainUntilRevoked || now.Before(stopped.Add(policy.Retain)) {
			return fmt.Errorf("%v: generation %d left the page; it signed until %v, retain %v", now, g.Number, stopped, policy.Retain)
		}
	}
	return nil
}
