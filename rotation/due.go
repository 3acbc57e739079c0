package rotation

import "time"

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
// active one, the end of its period, and may become later.
func (d Document) Until(g Generation, policy Policy) time.Time {
	pending, at, ok := d.activation(policy)
	switch {
	case g.State == Retired && policy.RetainUntilRevoked:
		return time.Time{}
	case g.State == Retired:
		return g.RetainUntil
	case g.State == Pending && ok && g.Number == pending.Number:
		return at
	case g.State == Active && ok:
		return at
	case g.State == Active && !policy.Manual && !g.impaired():
		return g.Activated.Add(policy.Period)
	}
	return time.Time{}
}

// activation returns the pending generation and the first instant at which it is due to
// become active: not before it is usable (invariant 1), and, while another one signs, not
// before it was published for the lead and that one's period is over. All of these are
// instants at which it may happen, so each is reached when now equals it.
//
// With no active generation there is nothing to wait for but the verifiers: that is a
// keyset's first one, or what follows a revocation. Nor is there when the active one has
// lost a key, also where rotation is by hand: it cannot do all that is asked of it.
func (d Document) activation(policy Policy) (Generation, time.Time, bool) {
	pending, ok := d.Pending()
	if !ok || pending.Published.IsZero() {
		return Generation{}, time.Time{}, false
	}
	active, signing := d.Active()
	switch {
	case !signing, active.impaired():
		return pending, pending.UsableFrom, true
	case policy.Manual:
		return Generation{}, time.Time{}, false
	}
	return pending, latest(pending.UsableFrom, pending.Published.Add(policy.Lead), active.Activated.Add(policy.Period)), true
}
