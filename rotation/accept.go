package rotation

import (
	"slices"
	"time"
)

// acceptClock takes the clock as right. step is by how much it was seen to be set since it agreed last; 0
// if nobody saw it.
//
// What follows from something counts in time that has passed, and of that the clock tells nothing while it is
// set. If it was set ahead, everything that d tells of moves ahead with it. If d tells of something later
// than now, that happened at the latest now.
func (d Document) acceptClock(act Act, step time.Duration, now time.Time) (Document, []Event) {
	back := step < 0 && slices.ContainsFunc(d.Generations, func(g Generation) bool {
		return slices.ContainsFunc(g.Keys, func(k Key) bool { return !k.Certified.Shown.IsZero() })
	})
	step = max(0, step)
	ahead := d.newest().Sub(now)
	if step == 0 && ahead <= 0 && !back {
		return d, nil
	}
	d = d.clone()
	move := func(happened *time.Time, follows ...*time.Time) {
		if happened.IsZero() {
			return
		}
		by := min(step, now.Sub(*happened)) // negative if it lies ahead
		for _, t := range append(follows, happened) {
			if !t.IsZero() {
				*t = t.Add(by)
			}
		}
	}
	for i := range d.Generations {
		g := &d.Generations[i]
		move(&g.Made)
		move(&g.Published, &g.UsableFrom)
		move(&g.Activated, &g.Scheduled)
		move(&g.Retired, &g.RetainUntil)
		g.Keys = slices.Clone(g.Keys)
		for j := range g.Keys {
			// By this clock it may be valid and not have been by the other one, so it is new to verifiers.
			c := &g.Keys[j].Certified
			c.Shown, c.UsableFrom = time.Time{}, time.Time{}
			move(&c.Renewed)
		}
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		move(&e.Published, &e.UsableFrom)
		move(&e.Retired, &e.RetainUntil)
	}
	for i := range d.Intents {
		move(&d.Intents[i].At)
	}
	for i := range d.Abandoned {
		a := &d.Abandoned[i]
		move(&a.Begun)
		move(&a.Since)
		move(&a.Looked)
	}
	for i := range d.Revoked {
		move(&d.Revoked[i].At)
	}
	move(&d.StaleSince, &d.StaleUntil)
	if ahead > 0 && !d.Allowance.IsZero() {
		d.Allowance = d.Allowance.Add(-ahead)
	}
	return d, []Event{act.event(eventClock, 0, nil, now)}
}
