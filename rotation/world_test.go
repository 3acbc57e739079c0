package rotation

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// What happens to the token of a world besides what Plan wants.

// epoch begins another one.
func (w *world) epoch() {
	w.obs.Up, w.obs.Counted = map[string]time.Time{"hsm": w.now}, map[string]bool{}
}

// counted ends the taking of an inventory.
func (w *world) counted() {
	w.obs.Counted["hsm"] = true
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
			delete(w.objects, string(a.ID))
		})
	}
	return append(effects, func() { doc, _ := w.doc.purged(found, w.obs.Up[token], w.now); w.save(doc) }, w.show)
}

// cut ends a step before one of its effects: the epoch ends or, mostly, the daemon. A key that
// was being made may be there at once, later, or never.
func (w *world) cut(s Step, effect int) {
	if s.Kind == StepGenerate {
		intent, _ := w.doc.intent(Generate, s.Generation)
		if i := effect - 1; i >= 0 && i < len(intent.Objects) {
			id := string(intent.Objects[i].ID)
			if delete(w.ended, id); rapid.IntRange(0, 3).Draw(w.t, "comes") > 0 {
				w.coming[id] = w.now.Add(seconds(w.t, "late", 0, int(lateAfter.Seconds())-1))
			}
			if rapid.IntRange(0, 3).Draw(w.t, "daemon survives") == 0 {
				w.now = w.now.Add(1)
				w.epoch()
				return
			}
		}
	}
	w.now = w.now.Add(1)
	clear(w.ended)
	w.epoch()
	w.show()
}

// arrive lets the token finish what it was cut off from.
func (w *world) arrive() {
	for id, at := range w.coming {
		if !w.now.Before(at) {
			w.objects[id] = true
			delete(w.coming, id)
		}
	}
}

// theft lets a key of ours vanish or come back, which is seen in the next epoch.
func (w *world) theft() {
	var live []string
	for _, g := range w.doc.Generations {
		for _, k := range g.Keys {
			live = append(live, string(k.ID))
		}
	}
	maps.DeleteFunc(w.taken, func(id string, _ bool) bool { return !slices.Contains(live, id) })
	if len(live) == 0 || rapid.IntRange(0, 9).Draw(w.t, "theft") > 0 {
		return
	}
	id := rapid.SampledFrom(live).Draw(w.t, "key")
	if w.taken[id] {
		w.objects[id] = true
		delete(w.taken, id)
	} else {
		w.taken[id], w.thefts = true, true
		delete(w.objects, id)
	}
	if len(w.obs.Up) > 0 {
		w.epoch()
	}
}

// settled checks what must be so after a while of good weather.
func (w *world) settled() {
	waiting, live := 0, map[string]bool{}
	for _, g := range w.doc.Generations {
		if g.State == Pending {
			waiting++
		}
		for _, k := range g.Keys {
			live[string(k.ID)] = !w.taken[string(k.ID)]
		}
	}
	_, active := w.doc.Active()
	pending, ok := w.doc.Pending()
	if !active || !ok && waiting < maxPending || ok && pending.Published.IsZero() || waiting > maxPending {
		w.t.Fatalf("no active generation with a pending one behind it: %+v", w.doc)
	}
	if waiting > 1 && !w.thefts {
		w.t.Fatalf("%d generations are pending: %+v", waiting, w.doc)
	}
	if len(w.doc.Intents)+len(w.doc.Abandoned) != 0 {
		w.t.Fatalf("left on record: %+v, %+v", w.doc.Intents, w.doc.Abandoned)
	}
	maps.DeleteFunc(live, func(_ string, there bool) bool { return !there })
	if !maps.Equal(live, w.objects) {
		w.t.Fatalf("the token holds %v, the store says %v", w.objects, live)
	}
}
