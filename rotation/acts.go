package rotation

import (
	"fmt"
	"slices"
	"time"

	"keysetd.example/hsm"
)

// What an operator does is a transition like what the calendar does. Done again, it
// changes nothing and is no error. When keys have signed last is for settle to say here too.

// rotatable finds the generation that a rotation by hand would activate. done: there is
// nothing to do, since act.KID signs no longer.
func (d Document) rotatable(act Act, policy Policy, now time.Time) (number int, done bool, err error) {
	active, signing := d.Active()
	if act.KID != "" && !slices.Contains(active.kids(), act.KID) {
		for _, g := range d.Generations {
			if g.State == Retired && slices.Contains(g.kids(), act.KID) {
				return 0, true, nil
			}
		}
		if _, revoked := d.revocation(act.KID); revoked {
			return 0, true, nil
		}
		return 0, false, refusal(RefusedUnknownKID, time.Time{}, "no key %q of keyset %s signs, nor did one; `keysetctl status %s` shows those there are", act.KID, d.Keyset, d.Keyset)
	}
	frozen := d.FrozenUntil.After(now)
	next := slices.IndexFunc(d.Generations, func(g Generation) bool { return g.State == Pending && !g.impaired() && g.fits(policy) })
	switch {
	case policy.static():
		return 0, false, refusal(RefusedBadRequest, time.Time{}, "keyset %s is static; name the new key as active in the configuration and reload", d.Keyset)
	case !d.Removed.IsZero() || !signing:
		return 0, false, refusal(RefusedNotYet, time.Time{}, "no generation of keyset %s signs that could be replaced; `keysetctl status %s` says why", d.Keyset, d.Keyset)
	case frozen:
		return 0, false, refusal(RefusedFrozen, d.FrozenUntil, "keyset %s is frozen until %s; thaw it first", d.Keyset, instant(d.FrozenUntil))
	case next < 0 || d.Generations[next].Published.IsZero():
		return 0, false, refusal(RefusedNotYet, time.Time{}, "the next generation of keyset %s is not made yet; `keysetctl plan %s` says when it is", d.Keyset, d.Keyset)
	}
	g := d.Generations[next]
	if known := d.known(g, policy); !known.ok || !known.until.IsZero() && !now.Before(known.until) {
		return 0, false, refusal(RefusedNotYet, time.Time{}, "generation %d of keyset %s waits for a certificate of each of its keys that is valid; kid %s has none that every verifier can come to know",
			g.Number, d.Keyset, d.wanting(g, policy, now))
	}
	if at := d.mayRotate(g, policy); now.Before(at) {
		return 0, false, refusal(RefusedNotYet, at, "generation %d of keyset %s was published at %s and may sign from %s on, when its lead is over",
			g.Number, d.Keyset, g.Published.Format(time.RFC3339), instant(at))
	}
	if _, at, ok := d.manual(policy, now); !ok {
		return 0, false, refusal(RefusedRateLimited, at, "%d rotations by hand a day are allowed for keyset %s, %d of them at once; the next one is possible at %s",
			policy.ManualPerDay, d.Keyset, policy.ManualBurst, instant(at))
	}
	return g.Number, false, nil
}

// instant writes when something is possible, rounded up to the second: then it is.
func instant(at time.Time) string {
	return at.Add(time.Second - 1).Truncate(time.Second).Format(time.RFC3339)
}

// rotate activates a generation that rotatable found.
func (d Document) rotate(number int, act Act, policy Policy, now time.Time) (Document, []Event) {
	allowance, _, _ := d.manual(policy, now)
	d, events := d.activate(number, policy, act.event(eventActivated, number, nil, now))
	d.Allowance = allowance
	return d, events
}

// revocation returns that of a kid.
func (d Document) revocation(kid string) (Revocation, bool) {
	if i := slices.IndexFunc(d.Revoked, func(r Revocation) bool { return r.KID == kid }); i >= 0 {
		return d.Revoked[i], true
	}
	return Revocation{}, false
}

// revoke takes keys out of service for good: off the page, out of the signers, and on the
// list of what is to be destroyed. If that impairs the active generation, the pending one that verifiers know
// becomes active in the same transition, or any, if the operator accepts that. kids are
// those of the keys to go.
func (d Document) revoke(act RevokeAct, policy Policy, trusted bool, now time.Time) (Document, []Event, error) {
	d = d.clone()
	if act.KID != "" && !act.All {
		_, before := d.revocation(act.KID)
		if !before && !d.hasKID(act.KID) {
			return d, nil, refusal(RefusedUnknownKID, time.Time{}, "keyset %s has no key %q, nor had one that was revoked; `keysetctl status %s` shows those there are", d.Keyset, act.KID, d.Keyset)
		}
	}
	static := map[string]bool{} // the administrator's, by CKA_ID
	for _, g := range d.Generations {
		for _, k := range g.Keys {
			static[string(k.ID)] = static[string(k.ID)] || g.Static
		}
	}
	if len(d.Generations) > 0 && d.StaleUntil.IsZero() {
		// The first page may be out, although that is not put down yet.
		d.stale(now.Add(d.Served.Reach()+d.grown(policy)), now)
	}
	var events []Event
	for i := range d.Generations {
		g := &d.Generations[i]
		var gone []string
		g.Keys = slices.DeleteFunc(slices.Clone(g.Keys), func(k Key) bool {
			if !act.All && k.KID != act.KID || act.Through > 0 && g.Number > act.Through {
				return false
			}
			gone = append(gone, k.KID)
			if !slices.ContainsFunc(d.Revoked, func(r Revocation) bool { return r.KID == k.KID && string(r.ID) == string(k.ID) }) {
				kept := act.KeepObject || static[string(k.ID)]
				d.Revoked = append(d.Revoked, Revocation{
					KID: k.KID, Spec: k.Spec, Generation: g.Number, Token: k.Token, ID: k.ID, Label: k.Label, Public: k.Public,
					At: now, By: act.By, Why: act.Why, Kept: kept, AcceptedUntil: latest(now.Add(d.Served.Reach()), d.StaleUntil),
				})
				if !kept {
					d = d.destroyLater(g.Number, k.attempt(), true, now)
				}
			}
			return true
		})
		if len(gone) > 0 {
			g.Revoked = append(slices.Clone(g.Revoked), gone...)
			events = append(events, act.event(eventRevoked, g.Number, gone, now))
		}
	}
	d.Generations = slices.DeleteFunc(d.Generations, func(g Generation) bool { return len(g.Keys) == 0 })
	if active, signing := d.Active(); signing && !active.impaired() || !d.Removed.IsZero() {
		return d, events, nil
	}
	// What is accepted is so for the last revocation that changed something.
	if act.AcceptUnpublished || len(events) > 0 {
		d.AcceptUnpublished = act.AcceptUnpublished
	}
	if next, ok := d.promotable(policy, trusted, now); ok {
		var more []Event
		d, more = d.activate(next, policy, act.event(eventActivated, next, nil, now))
		events = append(events, more...)
	}
	return d, events, nil
}

// promotable finds the pending generation that may follow one that is out of service at once: one that
// verifiers know, or, if an operator accepts that they do not, the one that they will know first.
func (d Document) promotable(policy Policy, trusted bool, now time.Time) (number int, ok bool) {
	var first Generation
	for _, g := range d.Generations {
		switch {
		case g.State != Pending || g.impaired():
			continue
		case trusted && !g.Published.IsZero() && d.knownAt(g, policy, now):
			return g.Number, true
		case first.Number == 0 || !g.Published.IsZero() && (first.Published.IsZero() || g.UsableFrom.Before(first.UsableFrom)):
			first = g
		}
	}
	return first.Number, first.Number != 0 && d.AcceptUnpublished
}

// freeze holds up what the calendar would do until then.
func (d Document) freeze(act Act, until time.Time, policy Policy, now time.Time) (Document, []Event, error) {
	limit := now.Add(policy.MaxFreeze)
	switch {
	case !until.After(now):
		return d, nil, refusal(RefusedBadRequest, time.Time{}, "%s is not in the future, so keyset %s was not frozen", until.Format(time.RFC3339), d.Keyset)
	case until.Equal(d.FrozenUntil):
		return d, nil, nil
	case until.After(limit):
		return d, nil, refusal(RefusedBadRequest, time.Time{}, "%s is further away than max_freeze %s allows for keyset %s, which is until %s", until.Format(time.RFC3339), short(policy.MaxFreeze), d.Keyset, limit.Format(time.RFC3339))
	}
	if k, end := d.firstEnd(policy, now); !end.IsZero() && until.After(end) {
		return d, nil, refusal(RefusedBadRequest, end, "%s is later than %s, when the certificate of key %s has to leave the page as it ends at %s and cannot be renewed by keysetd: freeze keyset %s until then at most, or import another certificate first",
			until.Format(time.RFC3339), end.Format(time.RFC3339), k.KID, k.Certified.NotAfter.Format(time.RFC3339), d.Keyset)
	}
	d.FrozenUntil = until
	e := act.event(eventFrozen, 0, nil, now)
	e.Why = fmt.Sprintf("until %s: %s", until.Format(time.RFC3339), act.Why)
	return d, []Event{e}, nil
}

// thaw ends a freeze.
func (d Document) thaw(act Act, now time.Time) (Document, []Event) {
	if !d.FrozenUntil.After(now) {
		return d, nil
	}
	d.FrozenUntil = time.Time{}
	return d, []Event{act.event(eventThawed, 0, nil, now)}
}

// remove takes the keyset out of service as if all of it had been replaced: nothing signs,
// and everything stays on the page until what it signed is no longer valid.
func (d Document) remove(act Act, policy Policy, now time.Time) (Document, []Event) {
	if !d.Removed.IsZero() {
		return d, nil
	}
	d = d.clone()
	d.Removed, d.FrozenUntil, d.AcceptUnpublished = now, time.Time{}, false
	if len(policy.Specs) > 0 || policy.static() { // else it is known from before only
		terms := policy.farewell()
		d.Farewell = &terms
	}
	for i := range d.Generations {
		d.Generations[i].State = Retired
	}
	return d, []Event{act.event(eventKeysetRemoved, 0, nil, now)}
}

// restore takes a removed keyset back, which the configuration has again. Its keys
// are retired, and the next ones are new to verifiers.
func (d Document) restore(now time.Time) (Document, []Event) {
	d.Removed = time.Time{}
	return d, []Event{event(eventKeysetBack, 0, nil, now, "the configuration has it again")}
}

// farewell is what p says of how a keyset's keys go.
func (p Policy) farewell() Farewell {
	return Farewell{Retain: p.Retain, UntilRevoked: p.RetainUntilRevoked, Served: p.freshness()}
}

// farewell is the policy by which a removed keyset goes.
func (d Document) farewell() Policy {
	f := d.Farewell
	if f == nil {
		f = &Farewell{Served: d.Served}
	}
	p := Policy{
		Retain: f.Retain, RetainUntilRevoked: f.UntilRevoked,
		MaxAge: f.Served.MaxAge, ClockSkew: f.Served.ClockSkew, VerifierCache: f.Served.VerifierCache,
	}
	if d.encrypts() {
		p.Usage = hsm.Decrypt
	}
	return p
}
