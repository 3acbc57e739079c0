package rotation

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// What happens to the token and the clock of a world besides what Plan wants.

// upTo draws a number from 0 to n, small ones more often.
func (w *world) upTo(n int) int {
	if n < len(upTo) {
		return upTo[n].Draw(w.t, "n")
	}
	return rapid.IntRange(0, n).Draw(w.t, "n")
}

// one reports whether what happens one time in about n happens.
func (w *world) one(n int) bool { return w.upTo(n-1) == n-1 }

var upTo = func() (g [24]*rapid.Generator[int]) {
	for n := range g {
		var all []int
		for i := range n + 1 {
			all = append(all, i)
		}
		g[n] = rapid.SampledFrom(all)
	}
	return g
}()

func (w *world) seconds(from, to int) time.Duration {
	return time.Duration(from+w.upTo(max(0, to-from))) * time.Second
}

// epoch begins another one.
func (w *world) epoch() {
	w.up, w.counts = map[string]time.Time{"hsm": w.now()}, map[string]bool{}
}

// counted ends the taking of an inventory.
func (w *world) counted() {
	w.counts["hsm"] = true
	for _, g := range w.doc.Generations {
		for _, k := range g.Keys {
			if k.Lost.IsZero() != w.objects[string(k.ID)] {
				w.t.Fatalf("generation %d: lost %v, on the token %v", g.Number, k.Lost, w.objects[string(k.ID)])
			}
		}
	}
}

// purge is the effects of StepPurge.
func (w *world) purge(token string) (effects []func()) {
	found := map[string]int{}
	for _, a := range w.doc.abandonedOn(token) {
		effects = append(effects, func() {
			if found[string(a.ID)] = 0; w.objects[string(a.ID)] {
				found[string(a.ID)] = 1
			}
			w.destroy(string(a.ID))
		})
	}
	return append(effects, func() { doc, _ := w.doc.purged(found, w.up[token], w.now()); w.save(doc) }, w.show)
}

// cut ends a step before one of its effects: the epoch ends or, mostly, the daemon. A key that
// was being made may be there at once, later, or never.
func (w *world) cut(s Step, effect int) {
	w.by = Step{}
	if s.Kind == StepGenerate {
		intent, _ := w.doc.intent(Generate, s.Generation)
		if i := effect - 1; i >= 0 && i < len(intent.Objects) {
			id := string(intent.Objects[i].ID)
			if delete(w.ended, id); !w.one(4) {
				w.coming[id] = w.real.Add(w.seconds(0, int(lateAfter.Seconds())-1))
			}
			if w.one(4) { // the daemon lives on
				w.real = w.real.Add(1)
				w.epoch()
				return
			}
		}
	}
	w.restart()
}

// restart loses what only the daemon knows. What it saw of the clock is among that, so a clock that is
// ahead is set right first: else nobody could tell.
func (w *world) restart() {
	w.real = w.real.Add(1)
	w.off = min(w.off, w.accepts)
	w.accepts = w.off
	clear(w.ended)
	w.epoch()
	w.show()
}

// arrive lets the token finish what it was cut off from.
func (w *world) arrive() {
	for id, at := range w.coming {
		if !w.real.Before(at) {
			w.objects[id] = true
			delete(w.coming, id)
		}
	}
}

// theft lets a key vanish or come back, which is seen in the next epoch.
func (w *world) theft() {
	var live []string
	for _, g := range w.doc.Generations {
		for _, k := range g.Keys {
			live = append(live, string(k.ID))
		}
	}
	for id := range w.taken {
		if slices.Contains(live, id) {
			continue
		}
		if delete(w.taken, id); w.admin[id].ID != nil {
			w.objects[id] = true // he has another copy
		}
	}
	if len(live) == 0 || !w.one(12) {
		return
	}
	id := live[w.upTo(len(live)-1)]
	if w.taken[id] {
		w.objects[id] = true
		delete(w.taken, id)
	} else {
		w.taken[id], w.thefts = true, true
		delete(w.objects, id)
	}
	if len(w.up) > 0 {
		w.epoch()
	}
}

// weather is what becomes of the token and the clock.
func (w *world) weather() {
	switch n := w.upTo(11); {
	case n == 11:
		w.up, w.counts = nil, nil
	case n == 10 || len(w.up) == 0:
		w.epoch()
	case n == 9 && w.one(2): // somebody sets the clock
		w.off += time.Duration(1-2*w.upTo(1)) * w.seconds(1, 20000)
	case n == 9 && w.off != w.accepts && w.one(2):
		w.off = w.accepts
	case n >= 8 && w.suspect() && w.one(2):
		w.acceptClock()
	}
}

// acceptClock takes the clock as right. So it is that of the verifiers too, to whom what
// was signed while it was behind is valid for that much less.
func (w *world) acceptClock() {
	step := w.off - w.accepts
	if w.accepts = w.off; step > 0 {
		for kid, valid := range w.valid {
			w.valid[kid] = valid.Add(-step)
		}
	}
	doc, _ := w.doc.acceptClock(Act{By: "uid 0"}, step, w.now())
	w.save(doc)
	w.Verifiers.forgive()
	w.epoch() // its beginning was told by the other clock
	w.show()
}

// tick lets time go by: mostly to the very instant at which something is due next, or just short of it.
func (w *world) tick() {
	var next time.Time
	if w.configured || !w.doc.Removed.IsZero() {
		_, next = Plan(w.doc, w.rules(), w.obs(), w.now())
	}
	wait := next.Sub(w.now())
	switch n := w.upTo(19); {
	case n < 12 && !next.IsZero():
		w.passes(w.real.Add(wait))
	case n < 14 && !next.IsZero():
		w.passes(w.real.Add(max(0, wait-1)))
	case n < 19:
		w.passes(w.real.Add(w.seconds(0, 7200)))
	default:
		w.passes(w.real.Add(30 * 24 * time.Hour))
	}
}

// settled checks what must be so after a while of good weather.
func (w *world) settled() {
	policy := w.rules()
	fit, other := 0, 0
	wanted := map[string]bool{}
	_, active := w.doc.Active()
	next := false
	for _, g := range w.doc.Generations {
		switch fits := g.fits(policy); {
		case g.State == Pending && fits:
			fit++
			next = next || !g.impaired() && !g.Published.IsZero()
		case g.State == Pending && !g.impaired():
			other++
		case g.State == Active && fits && policy.static():
			next = true
		}
		for _, k := range g.Keys {
			wanted[string(k.ID)] = true
		}
	}
	_, _, able := w.resolve()
	switch {
	case !w.configured && active:
		w.t.Fatalf("it is not configured, and signs: %+v", w.doc)
	case !w.configured || policy.static() && !able:
	case !active && (next || fit < maxPending) || !next && fit < maxPending && w.doc.dismissed() < maxDismissed || fit > maxPending:
		w.t.Fatalf("no active generation (%v) with a pending one behind it: %+v", active, w.doc)
	case other > 1:
		w.t.Fatalf("%d generations wait that nobody wants: %+v", other, w.doc)
	case fit > 1 && !w.thefts && len(w.doc.Revoked) == 0 && w.family != mixed:
		w.t.Fatalf("%d generations are pending: %+v", fit, w.doc)
	}
	if len(w.doc.Intents)+len(w.doc.Abandoned) != 0 {
		w.t.Fatalf("left on record: %+v, %+v", w.doc.Intents, w.doc.Abandoned)
	}
	for id := range w.named {
		if w.objects[id] {
			wanted[id] = true
		}
	}
	for id := range w.admin {
		wanted[id] = true
	}
	maps.DeleteFunc(wanted, func(id string, _ bool) bool { return w.taken[id] })
	maps.Copy(wanted, w.kept)
	if !maps.Equal(wanted, w.objects) {
		w.t.Fatalf("the token holds %v, the store says %v", w.objects, wanted)
	}
}
