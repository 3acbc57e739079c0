package rotation

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// What Plan wants of a world, and how it is carried out.

// effects of a step, one by one.
func (w *world) effects(s Step) []func() {
	n, policy := s.Generation, w.rules()
	save := func(f func() (Document, []Event)) func() { return func() { doc, _ := f(); w.save(doc) } }
	destroy := func(objects []Attempt) (e []func()) {
		for _, o := range objects {
			e = append(e, func() { w.destroy(string(o.ID)) })
		}
		return e
	}
	switch s.Kind {
	case stepRestore.Kind:
		return []func(){save(func() (Document, []Event) { return w.doc.restore(w.now()) }), w.show}
	case StepSettle:
		return []func(){save(func() (Document, []Event) { return w.doc.settle(w.rules(), w.marks, w.now()) }), w.show}
	case StepEntries:
		return []func(){save(func() (Document, []Event) { return w.doc.entries(w.rules(), w.now()) }), w.show}
	case StepDismiss:
		return []func(){save(func() (Document, []Event) { return w.doc.dismiss(n, w.now()) }), w.show}
	case StepActivate:
		return []func(){save(func() (Document, []Event) {
			return w.doc.activate(n, policy, event(eventActivated, n, nil, w.now(), s.Reason))
		}), w.show}
	case StepRenew:
		return w.renew(n)
	case StepWithdraw:
		return []func(){save(func() (Document, []Event) { return w.doc.withdraw(n, w.now()) }), w.show}
	case StepSweep:
		intent, _ := w.doc.intent(Generate, n)
		return append(destroy(intent.Objects), save(func() (Document, []Event) { return w.doc.abandoned(n, w.ended, w.now()) }), w.show)
	case StepInventory:
		return []func(){
			save(func() (Document, []Event) {
				return w.doc.compare(s.Token, inventory{private: w.objects}, w.now())
			}), w.show, w.counted}
	case StepPurge:
		return w.purge(s.Token)
	case StepDestroy:
		intent, _ := w.doc.intent(Destroy, n)
		return append(destroy(intent.Objects), save(func() (Document, []Event) { return w.doc.destroyed(n, intent.Objects, w.now()) }), w.show)
	case StepAdopt:
		state, keys, _ := w.resolve()
		return []func(){save(func() (Document, []Event) { return w.doc.adopted(state, keys, policy, w.now()) }), w.show}
	case StepGenerate:
		return w.generate(n, policy)
	}
	panic(s.Kind)
}

func (w *world) generate(n int, policy Policy) []func() {
	var objects []Attempt
	var keys []Key
	e := []func(){nil}
	for _, spec := range policy.Specs {
		w.ids++
		id := fmt.Sprintf("id-%d", w.ids)
		objects = append(objects, Attempt{Token: "hsm", Spec: spec, ID: []byte(id), Label: id, KID: id})
		keys = append(keys, Key{Token: "hsm", Spec: spec, ID: []byte(id), Label: id, KID: id, Usage: policy.usage(spec)})
		i := len(keys) - 1
		e = append(e, func() { w.objects[id], w.ended[id] = true, true; keys[i] = w.issue(keys[i], policy) })
	}
	e[0] = func() {
		for _, o := range objects {
			w.ended[string(o.ID)] = true
		}
		w.save(w.doc.begin(objects, w.now()))
	}
	return append(e, func() {
		// An operator may have done something meanwhile.
		if !w.configured || !w.doc.Removed.IsZero() {
			w.cut(Step{}, 0)
			return
		}
		doc, _ := w.doc.made(n, keys, w.policy, w.now())
		w.save(doc)
	}, w.show)
}

// destroy is the effect of destroying a key.
func (w *world) destroy(id string) {
	if _, his := w.admin[id]; his {
		w.t.Fatalf("%s is the administrator's, and is destroyed", id)
	}
	revoked := slices.ContainsFunc(w.doc.Revoked, func(r Revocation) bool { return string(r.ID) == id })
	if w.by.Kind == StepDestroy && w.suspect() && !revoked {
		w.t.Fatalf("%s is destroyed while the clock is suspect", id)
	}
	if w.kept[id] {
		w.t.Fatalf("%s is destroyed, and was to be kept", id)
	}
	delete(w.objects, id)
}

// inventory checks that the token holds what the store says: every key of a live
// generation, and nothing that no generation or intent names.
func (w *world) inventory() {
	named := map[string]bool{}
	for _, g := range w.doc.Generations {
		for _, k := range g.Keys {
			if named[string(k.ID)] = true; !w.objects[string(k.ID)] && !w.taken[string(k.ID)] {
				w.t.Fatalf("generation %d (%s) has lost its key", g.Number, g.State)
			}
		}
	}
	for _, i := range w.doc.Intents {
		for _, o := range i.Objects {
			named[string(o.ID)] = true
		}
	}
	if len(w.doc.Abandoned) > maxAbandoned {
		w.t.Fatalf("%d abandoned attempts are on record", len(w.doc.Abandoned))
	}
	for _, a := range w.doc.Abandoned {
		named[string(a.ID)] = true
	}
	for id := range w.objects {
		if _, his := w.admin[id]; !his && !named[id] && !w.named[id] && !w.kept[id] {
			w.t.Fatalf("%s is an orphan on the token", id)
		}
	}
}

// due returns the first step that is due and can be done, as the Manager would see it.
func (w *world) due() (Step, bool) {
	policy := w.rules()
	switch {
	case !w.configured && w.doc.Removed.IsZero():
		return Step{}, false
	case w.configured && !w.doc.Removed.IsZero():
		return stepRestore, true
	}
	now := w.now()
	steps, next := Plan(w.doc, policy, w.obs(), now)
	blocked := 0
	for _, s := range steps {
		if s.Kind == StepAdopt {
			if _, _, ok := w.resolve(); !ok {
				blocked++
				continue
			}
		}
		return s, true
	}
	if w.saves%4 > 0 { // what follows takes time
		return Step{}, false
	}
	if again, then := Plan(w.doc, policy, w.obs(), now); !reflect.DeepEqual(steps, again) || next != then {
		w.t.Fatalf("Plan gives %v and %v for the same", steps, again)
	}
	if active, _ := w.doc.Active(); active.impaired() && !w.suspect() {
		for _, p := range w.doc.Generations {
			if p.State == Pending && !p.impaired() && len(w.up) > 0 && w.counts["hsm"] && !now.Before(p.UsableFrom) && w.doc.knownAt(p, policy, now) {
				w.t.Fatalf("generation %d has lost a key and %d does not sign: %+v", active.Number, p.Number, w.doc)
			}
		}
	}
	if !next.IsZero() && !w.suspect() {
		if early, _ := Plan(w.doc, policy, w.obs(), next.Add(-1)); len(early) > blocked {
			w.t.Fatalf("%v is due before %v", early, next)
		}
		if due, _ := Plan(w.doc, policy, w.obs(), next); len(due) <= blocked {
			w.t.Fatalf("nothing is due at %v", next)
		}
	}
	return Step{}, false
}

// step does the first step that is due, up to the effect before which it is stopped (-1:
// none), and reports whether there was one. Each effect takes a while.
func (w *world) step(stop int, meddle bool) bool {
	s, ok := w.due()
	if !ok {
		return false
	}
	for i, effect := range w.effects(s) {
		if i == stop {
			w.t.Logf("%v: %v, cut off before effect %d", w.now(), s, i)
			w.cut(s, i)
			return true
		}
		w.arrive()
		w.by = s
		w.t.Logf("%v: %v, effect %d", w.now(), s, i)
		effect()
		w.by = Step{}
		switch s.Kind {
		case StepSettle, StepActivate, StepEntries, StepDismiss, StepRenew: // they leave the keys alone
		default:
			w.inventory()
		}
		w.real = w.real.Add(time.Duration(w.upTo(int(time.Second))))
		if meddle && i == 0 && s.Kind == StepGenerate {
			w.act()
		}
	}
	return true
}
