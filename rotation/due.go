package rotation

import (
	"cmp"
	"slices"
	"time"
)

// Since is when a generation came into its state.
func (d Document) Since(g Generation) time.Time {
	switch g.State {
	case Pending:
		if g.Published.IsZero() {
			return g.Made
		}
		return g.Published
	case Active:
		return g.Activated
	}
	if active, ok := d.Active(); ok && g.Retired.IsZero() {
		return active.Activated // the swap is under way
	}
	return g.Retired
}

// Until is when a generation is due to leave its state: the pending one to become active,
// the active one to be replaced, a retired one to go. Zero where no instant is set: by
// hand, until revoked, or not published yet. While no generation is pending it is, for the
// active one, the end of its period, and may become later. A watermark may keep a retired
// one longer.
func (d Document) Until(g Generation, policy Policy) time.Time {
	a, ok := d.activation(policy)
	switch {
	case g.State == Retired && (policy.RetainUntilRevoked || g.pinned(policy) || g.RetainUntil.IsZero()):
		return time.Time{}
	case g.State == Retired:
		return latest(g.RetainUntil, d.FrozenUntil)
	case g.State == Pending && ok && g.Number == a.Number:
		return a.at
	case g.State == Active && ok:
		return a.at
	case g.State == Active && !policy.byHand() && !g.impaired() && d.Removed.IsZero():
		return latest(g.periodEnd(policy), d.FrozenUntil)
	}
	return time.Time{}
}

// byHand reports whether no calendar replaces a generation that the configuration wants.
func (p Policy) byHand() bool { return p.Manual || p.static() }

// periodEnd is when the calendar has the active generation replaced.
func (g Generation) periodEnd(policy Policy) time.Time {
	from := cmp.Or(g.Scheduled, g.Activated)
	if most := g.Activated.Add(policy.Jitter); from.After(most) { // the period is shorter now
		from = most
	}
	return from.Add(policy.Period)
}

// activation is the generation that is to become active next, and the first instant at
// which it is due to.
type activation struct {
	Generation
	at  time.Time
	why string
	// until is when the page takes a chain away that it is to have; zero where there is no end.
	until time.Time
}

// lapsed reports whether a chain is no longer there that it is to have.
func (a activation) lapsed(now time.Time) bool { return !a.until.IsZero() && !now.Before(a.until) }

// activation finds it. Not before it is usable (invariant 1), and, while another one
// signs, not before it was published for the lead, that one's period is over, and no
// freeze holds. All of these are instants at which it may happen, so each is reached when
// now equals it.
//
// With no active generation there is nothing to wait for but the verifiers: that is a
// keyset's first one, or what follows a revocation, and then the operator may have accepted
// not to wait for them either, nor for certificates. Nor is there when the active one is impaired, also where
// rotation is by hand, and in a freeze: it cannot do all that is asked of it. If the
// configuration wants something else than the active one, its period is not waited for.
func (d Document) activation(policy Policy) (activation, bool) {
	var waiting []Generation
	for _, g := range d.Generations {
		if g.State == Pending && !g.Published.IsZero() && !g.impaired() {
			waiting = append(waiting, g)
		}
	}
	if len(waiting) == 0 || !d.Removed.IsZero() {
		return activation{}, false
	}
	active, signing := d.Active()
	if !signing || active.impaired() {
		// Whichever verifiers know first, wanted or not: what is wanted follows.
		g := slices.MinFunc(waiting, func(a, b Generation) int {
			x, y := d.known(a, policy), d.known(b, policy)
			switch {
			case x.ok && !y.ok:
				return -1
			case y.ok && !x.ok:
				return 1
			case x.ok:
				return cmp.Or(x.at.Compare(y.at), cmp.Compare(a.Number, b.Number))
			}
			return cmp.Or(a.UsableFrom.Compare(b.UsableFrom), cmp.Compare(a.Number, b.Number))
		})
		known := d.known(g, policy)
		a := activation{g, d.later(known.at, policy), "no generation is active", known.until}
		if signing {
			a.why = "the active generation has lost a key"
			if len(active.Revoked) > 0 {
				a.why = "a key of the active generation was revoked"
			}
		}
		if d.AcceptUnpublished {
			a.at, a.why, a.until = g.Published, a.why+", and an operator accepted that verifiers may not know this one yet", time.Time{}
			return a, true
		}
		return a, known.ok && !a.lapsed(a.at)
	}
	i := slices.IndexFunc(waiting, func(g Generation) bool { return g.fits(policy) })
	if i < 0 {
		return activation{}, false
	}
	known := d.known(waiting[i], policy)
	a := activation{waiting[i], d.mayRotate(waiting[i], policy), "the configuration wants other keys than the active ones", known.until}
	if active.fits(policy) {
		if policy.byHand() {
			return activation{}, false
		}
		a.at, a.why = latest(a.at, active.periodEnd(policy)), "the period of the active generation is over"
	}
	a.at = latest(a.at, d.FrozenUntil)
	return a, known.ok && !a.lapsed(a.at)
}

// mayRotate is from when on a pending generation that was published, and is known by time, may follow one
// that signs.
func (d Document) mayRotate(g Generation, policy Policy) time.Time {
	if policy.Encrypts() {
		return g.UsableFrom // a lead is for those who verify
	}
	return latest(d.later(d.known(g, policy).at, policy), g.Published.Add(policy.Lead))
}

// later is an instant at which verifiers know something, also while it is not put down yet that they
// are now said to keep bodies longer.
func (d Document) later(known time.Time, policy Policy) time.Time {
	if policy.Encrypts() {
		return known
	}
	return known.Add(d.grown(policy))
}

// grown is how much longer verifiers are said to keep bodies than was put down. They do so
// with those they hold already.
func (d Document) grown(policy Policy) time.Duration {
	return max(0, policy.freshness().slack()-d.Served.slack())
}

// scheduled is what counts as the beginning of a period that begins now: the instant that
// the calendar had for it, if it is met, so that a thousand small delays do not add up; else
// now, put off by the keyset's jitter if it is the first or late, so that keysets which are late together
// do not stay together.
func (d Document) scheduled(policy Policy, now time.Time) time.Time {
	if active, ok := d.Active(); ok && !policy.byHand() {
		switch due := active.periodEnd(policy); {
		case now.Before(due): // by hand
			return now
		case now.Sub(due) <= policy.Period/10:
			return due
		}
	}
	return now.Add(policy.Jitter)
}

// dismissible finds a pending generation that the configuration no longer wants and that
// nothing can be gained by keeping: it could be needed in an emergency only while
// verifiers do not know what is wanted instead; and not at all if a key of it was revoked.
func (d Document) dismissible(policy Policy, due func(time.Time) bool) (Generation, bool) {
	active, signing := d.Active()
	var next, spare *Generation
	for i, g := range d.Generations {
		if g.State != Pending || g.impaired() || g.Published.IsZero() {
			continue
		}
		if fits := g.fits(policy); fits && next == nil {
			next = &d.Generations[i]
		} else if !fits && spare == nil {
			spare = &d.Generations[i]
		}
	}
	settled := signing && policy.static() && active.fits(policy) // nothing is to follow it
	for _, g := range d.Generations {
		if g.State != Pending || g.fits(policy) {
			continue
		}
		switch {
		case len(g.Revoked) > 0:
		case next == nil && !settled:
			continue
		case next != nil && spare != nil && g.Number == spare.Number && d.sooner(g, *next, policy, due):
			continue
		}
		return g, true
	}
	return Generation{}, false
}

// sooner reports whether verifiers know g, and not next yet.
func (d Document) sooner(g, next Generation, policy Policy, due func(time.Time) bool) bool {
	x, y := d.known(g, policy), d.known(next, policy)
	return x.ok && (!y.ok || x.at.Before(y.at) && !due(y.at))
}
