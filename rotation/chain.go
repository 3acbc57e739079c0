package rotation

import (
	"slices"
	"time"
)

// The page shows a key's chain only while it is valid by its dates, as everybody sees it who may use that
// page: from when the last verifier's clock has reached its beginning, up to when the first page
// with it could still be used at its end. That is a function of the document and the time, so no page of
// any instant shows another one, not even the first after a year of silence.

// hasChain reports whether k has a chain, shown or not.
func (k Key) hasChain() bool { return len(k.Chain) > 0 || !k.Certified.NotAfter.IsZero() }

// reach is how long a page served now may be used. It is what was put down of that, so that no chain comes and
// goes with a configuration of which the document knows nothing.
func (d Document) reach(policy Policy) Freshness {
	if d.Served == (Freshness{}) {
		return policy.freshness()
	}
	return d.Served
}

// span is from when on a page may show the chain of k, and from when on none may any more. Both are
// zero where its dates are not known.
func (d Document) span(k Key, policy Policy) (from, until time.Time) {
	c, fresh := k.Certified, d.reach(policy)
	if c.NotAfter.IsZero() {
		return time.Time{}, time.Time{}
	}
	return c.NotBefore.Add(fresh.ClockSkew), c.NotAfter.Add(-fresh.Reach())
}

// shows reports whether a page of now shows a chain of k.
func (d Document) shows(k Key, policy Policy, now time.Time) bool {
	from, until := d.span(k, policy)
	return k.hasChain() && (until.IsZero() || !now.Before(from) && now.Before(until))
}

// hide returns d as the page shows it: without the chains of these kids.
func (d Document) hide(kids []string) Document {
	if len(kids) == 0 {
		return d
	}
	d = d.clone()
	for i := range d.Generations {
		g := &d.Generations[i]
		g.Keys = slices.Clone(g.Keys)
		for j := range g.Keys {
			if slices.Contains(kids, g.Keys[j].KID) {
				g.Keys[j].Chain = nil
			}
		}
	}
	return d
}

// known is from when on every verifier knows a generation, and until when the page shows what they are
// to know of it (zero: for good). Not ok: not by time, as it waits for a certificate.
type known struct {
	at, until time.Time
	ok        bool
}

// known tells that of g, as it was put down.
func (d Document) known(g Generation, policy Policy) known {
	at := known{at: g.UsableFrom, ok: true}
	if !policy.awaitsChain() {
		return at
	}
	for _, k := range g.Keys {
		if !k.hasChain() || k.Certified.Shown.IsZero() {
			return known{}
		}
		at.at = latest(at.at, k.Certified.UsableFrom)
		if _, until := d.span(k, policy); !until.IsZero() && (at.until.IsZero() || until.Before(at.until)) {
			at.until = until
		}
	}
	return at
}

// knownAt reports whether every verifier knows g now.
func (d Document) knownAt(g Generation, policy Policy, now time.Time) bool {
	k := d.known(g, policy)
	return k.ok && (k.until.IsZero() || now.Before(k.until)) && !now.Before(d.later(k.at, policy))
}

// wanting is the kid of the first key of g that keeps it from being known.
func (d Document) wanting(g Generation, policy Policy, now time.Time) string {
	for _, k := range g.Keys {
		if k.Certified.Shown.IsZero() || !d.shows(k, policy, now) {
			return k.KID
		}
	}
	return ""
}

// unsettledChain reports whether it is still to be put down of the chain of k that the page shows it, or that it
// no longer does.
func (d Document) unsettledChain(k Key, policy Policy, now time.Time) bool {
	return policy.awaitsChain() && k.Certified.Shown.IsZero() == d.shows(k, policy, now)
}

// unsettledChains returns the first generation of which that is so; 0 if there is none.
func (d Document) unsettledChains(policy Policy, now time.Time, due func(time.Time) bool) (generation int) {
	for _, g := range d.Generations {
		for _, k := range g.Keys {
			if g.State != Pending || !policy.awaitsChain() || !k.hasChain() {
				continue
			}
			if d.unsettledChain(k, policy, now) {
				return g.Number
			}
			if from, until := d.span(k, policy); from.Before(until) && due(from) {
				due(until)
			}
		}
	}
	return 0
}

// settleChains puts down since when the page shows the chains of a pending generation. held is until when
// anybody uses a page of before.
func (d Document) settleChains(g Generation, policy Policy, held, now time.Time) []Key {
	keys := g.Keys
	for i, k := range g.Keys {
		if !d.unsettledChain(k, policy, now) {
			continue
		}
		if &keys[0] == &g.Keys[0] {
			keys = slices.Clone(keys)
		}
		switch c := &keys[i].Certified; {
		case !c.Shown.IsZero():
			c.Shown, c.UsableFrom = time.Time{}, time.Time{}
		case g.Published.Equal(now) && !policy.External: // no page ever had the key without it
			c.Shown, c.UsableFrom = now, g.UsableFrom
		default:
			c.Shown, c.UsableFrom = now, held
		}
	}
	return keys
}

// leftPage returns the keys of a pending generation where the page shows some of their chains no longer, because it
// may be used longer from now on. It is put down with that: it may be shown again before anybody looks.
func (d Document) leftPage(g Generation, policy Policy, now time.Time) []Key {
	keys := g.Keys
	for i, k := range g.Keys {
		if k.Certified.Shown.IsZero() || d.shows(k, policy, now) {
			continue
		}
		if &keys[0] == &g.Keys[0] {
			keys = slices.Clone(keys)
		}
		keys[i].Certified.Shown, keys[i].Certified.UsableFrom = time.Time{}, time.Time{}
	}
	return keys
}

// knownLater returns keys whose chains verifiers know so much later.
func knownLater(keys []Key, grown time.Duration) []Key {
	if grown == 0 || !slices.ContainsFunc(keys, func(k Key) bool { return !k.Certified.Shown.IsZero() }) {
		return keys
	}
	keys = slices.Clone(keys)
	for i := range keys {
		if c := &keys[i].Certified; !c.Shown.IsZero() {
			c.UsableFrom = c.UsableFrom.Add(grown)
		}
	}
	return keys
}

// fixed reports whether keysetd has no later chain to give to a key of g than k has.
func (k Key) fixed(g Generation, policy Policy) bool {
	return policy.External || policy.static() || g.Static || k.Certified.Final
}

// firstEnd returns the key whose chain leaves the page first of those that do so for good, and when. Zero: there is none.
func (d Document) firstEnd(policy Policy, now time.Time) (first Key, end time.Time) {
	for _, g := range d.Generations {
		for _, k := range g.Keys {
			_, until := d.span(k, policy)
			if !until.IsZero() && k.fixed(g, policy) && d.shows(k, policy, now) && (end.IsZero() || until.Before(end)) {
				first, end = k, until
			}
		}
	}
	return first, end
}

// dated returns d with the dates of the chains that have none yet: they are of an older version's, or of the configuration.
func (m *Manager) dated(d Document) Document {
	if m.cfg.ChainDates == nil {
		return d
	}
	cloned := false
	for i, g := range d.Generations {
		for j, k := range g.Keys {
			if len(k.Chain) == 0 || !k.Certified.NotAfter.IsZero() {
				continue
			}
			from, until, err := m.cfg.ChainDates(k.Chain)
			if err != nil {
				continue // it is shown as it is: who publishes it says what is wrong
			}
			if !cloned {
				d, cloned = d.clone(), true
			}
			keys := slices.Clone(d.Generations[i].Keys)
			keys[j].Certified.NotBefore, keys[j].Certified.NotAfter = from.Round(0).UTC(), until.Round(0).UTC()
			d.Generations[i].Keys = keys
		}
	}
	return d
}

// reckon is what the time is most likely, where the clock of k was set while keysetd ran, or is behind what
// the store tells of: a wrong clock takes no chain off the page.
func (m *Manager) reckon(k *keyset, now time.Time) time.Time {
	return latest(now.Add(-m.clockStep()), k.doc.newest())
}
