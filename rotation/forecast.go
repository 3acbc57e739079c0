package rotation

import (
	"fmt"
	"time"
)

// maxForecast bounds how many steps are foreseen: a few whole turns of a generation.
const maxForecast = 40

// forecast tells the steps that Plan will want from now on, if nothing else happens and each
// succeeds at once; and that certificates from outside come as late as they may. Bookkeeping is left out. It ends when nothing is due by time, or with enough steps.
func forecast(d Document, policy Policy, obs Observation, now time.Time) (list []Forecast) {
	play(d, policy, obs, now, func(at time.Time, s Step, _ Document) bool {
		if s.told() {
			list = append(list, Forecast{At: at, Step: s})
		}
		return len(list) < maxForecast
	})
	return list
}

// play plays d on from now, as if every token were there and every step succeeded at once. It
// shows visit d as it is, without a step, and as it is after each step, until visit has seen enough.
func play(d Document, policy Policy, obs Observation, now time.Time, visit func(at time.Time, s Step, after Document) (more bool)) {
	obs.Up, obs.Counted = map[string]time.Time{}, map[string]bool{}
	for _, name := range append(d.tokens(), policy.Token) {
		obs.Up[name], obs.Counted[name] = now, true
	}
	obs.ClockSuspect = false
	more := visit(now, Step{}, d)
	for range 10 * maxForecast {
		if !more {
			return
		}
		steps, next := Plan(d, policy, obs, now)
		await, by := d.awaits(policy, now)
		switch {
		case len(steps) > 0:
			d = d.imagine(steps[0], policy, obs, now)
			more = visit(now, steps[0], d)
		case await.Kind != "" && (next.IsZero() || by.Before(next)):
			now = latest(now, by)
			d = d.supposed(await.Generation)
			more = visit(now, await, d)
		case next.IsZero():
			return
		default:
			now = next
		}
	}
}

// told reports whether s is of interest to people: bookkeeping is not.
func (s Step) told() bool {
	switch s.Kind {
	case "", StepSettle, StepInventory, StepPurge, StepSweep:
		return false
	}
	return true
}

// imagine returns what d is after a step that succeeded.
func (d Document) imagine(s Step, policy Policy, obs Observation, now time.Time) Document {
	n := s.Generation
	switch s.Kind {
	case StepSettle:
		d, _ = d.settle(policy, obs.Watermarks, now)
	case StepActivate:
		d, _ = d.activate(n, policy, event(eventActivated, n, nil, now, s.Reason))
	case StepEntries:
		d, _ = d.entries(policy, now)
	case StepDismiss:
		d, _ = d.dismiss(n, now)
	case StepWithdraw:
		d, _ = d.withdraw(n, now)
	case StepRenew:
		d = d.imagineRenewal(n, policy, now)
	case StepDestroy:
		intent, _ := d.intent(Destroy, n)
		d, _ = d.destroyed(n, intent.Objects, now)
	case StepSweep:
		d, _ = d.abandoned(n, nil, now)
	case StepPurge:
		found := map[string]int{}
		for _, a := range d.abandonedOn(s.Token) {
			found[string(a.ID)] = 0
		}
		d, _ = d.purged(found, obs.Up[s.Token], now)
	case StepGenerate:
		var keys []Key
		for _, spec := range policy.Specs {
			id := fmt.Sprintf("generation %d, %s", n, spec)
			keys = append(keys, Key{Spec: spec, Token: policy.Token, ID: []byte(id), KID: id, Usage: policy.usage(spec)})
		}
		d = d.begin(nil, now)
		d, _ = d.made(n, keys, policy, now)
	case StepAdopt:
		state, _ := d.adoption(policy)
		d, _ = d.adopted(state, d.imagined(state, policy), policy, now)
	}
	return d
}

// imagined are the keys that an adoption will most likely find.
func (d Document) imagined(state State, policy Policy) (keys []Key) {
	refs := policy.Static
	if state == Retired {
		refs = d.unadopted(policy)
	}
	for _, s := range refs {
		ref := s.Active
		if state == Retired {
			ref = s.Previous
		}
		if ref != nil {
			keys = append(keys, Key{Spec: s.Type.spec(), Token: policy.Token, ID: ref.ID, Label: ref.Label, KID: ref.KID, Usage: policy.usage(s.Type.spec())})
		}
	}
	return keys
}
