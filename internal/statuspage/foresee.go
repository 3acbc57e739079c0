package statuspage

import (
	"maps"
	"slices"
	"time"

	v1 "keysetd.example/api/v1"
)

// foresee is how the phases go on by the steps to come, and the instant up to which that is worth
// drawing: as long as the past from from to now, and at least until a little after the next activation.
func foresee(past []Phase, steps []v1.PlannedStep, from, now time.Time) (coming []Phase, to time.Time) {
	shown := now.Sub(from)
	if len(steps) == 0 {
		return nil, now.Add(shown / 40)
	}
	to = now.Add(max(shown, shortest))
	for _, s := range steps {
		if s.Step == "activate" {
			if soon := s.At.Add(s.At.Sub(from) / 10); soon.After(to) {
				to = soon
			}
			break
		}
	}
	live := map[int]Phase{} // by generation
	for _, p := range past {
		if p.To.Equal(now) {
			live[p.Generation] = Phase{Generation: p.Generation, State: p.State, From: now}
		}
	}
	end := func(n int, at time.Time) {
		if p, ok := live[n]; ok && at.After(p.From) {
			p.To = at
			coming = append(coming, p)
		}
		delete(live, n)
	}
	begin := func(n int, state string, at time.Time) {
		end(n, at)
		live[n] = Phase{Generation: n, State: state, From: at}
	}
	for _, s := range steps {
		at := s.At
		if at.Before(now) {
			at = now // it is due
		}
		if at.After(to) {
			break
		}
		switch s.Step {
		case "generate", "adopt":
			begin(s.Generation, "pending", at)
		case "activate":
			for _, n := range slices.Sorted(maps.Keys(live)) {
				if live[n].State == "active" && n != s.Generation {
					begin(n, "retired", at)
				}
			}
			begin(s.Generation, "active", at)
		case "dismiss":
			begin(s.Generation, "retired", at)
		case "withdraw":
			end(s.Generation, at)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(live)) {
		end(n, to)
	}
	return coming, to
}
