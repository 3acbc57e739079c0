package rotation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// world is one keyset, its store, its token, its page, and every verifier that could be.
// It carries out what Plan says effect by effect, and may stop between any two of them.
type world struct {
	t       *rapid.T
	now     time.Time
	policy  Policy
	obs     Observation
	doc     Document        // in the store
	objects map[string]bool // on the token, by CKA_ID
	ids     int
	ended   map[string]bool      // attempts that surely ended
	coming  map[string]time.Time // what the token will have made, of attempts that were cut off
	taken   map[string]bool      // what somebody took from the token
	thefts  bool                 // somebody ever did

	highest int // the highest number ever seen
	Verifiers
}

// show swaps the page and the signers.
func (w *world) show() {
	if err := w.Show(w.doc, w.policy, min(w.policy.MaxAge, w.doc.Served.MaxAge), w.now); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) save(doc Document) {
	if err := doc.Validate(); err != nil {
		w.t.Fatalf("document: %v", err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	var again Document
	if err := json.Unmarshal(b, &again); err != nil {
		w.t.Fatal(err)
	}
	for _, i := range again.Intents {
		_, there := w.doc.intent(i.Kind, i.Generation)
		if i.Kind == Generate && !there {
			if i.Generation <= w.highest {
				w.t.Fatalf("number %d is given after %d", i.Generation, w.highest)
			}
			w.highest = i.Generation
		}
	}
	w.doc = again
}

// effects of a step, one by one.
func (w *world) effects(s Step) []func() {
	n := s.Generation
	save := func(f func() (Document, []Event)) func() { return func() { doc, _ := f(); w.save(doc) } }
	destroy := func(kind IntentKind) (e []func()) {
		intent, _ := w.doc.intent(kind, n)
		for _, o := range intent.Objects {
			e = append(e, func() { delete(w.objects, string(o.ID)) })
		}
		return e
	}
	switch s.Kind {
	case StepSettle:
		return []func(){save(func() (Document, []Event) { return w.doc.settle(w.policy, w.now) }), w.show}
	case StepActivate:
		if g, _ := w.doc.Find(n); g.impaired() {
			w.t.Fatalf("generation %d is activated without its keys: %+v", n, g)
		}
		return []func(){save(func() (Document, []Event) { return w.doc.activate(n, w.now) }), w.show}
	case StepWithdraw:
		return []func(){save(func() (Document, []Event) { return w.doc.withdraw(n, w.now) }), w.show}
	case StepSweep:
		return append(destroy(Generate), save(func() (Document, []Event) { return w.doc.abandoned(n, w.ended, w.now) }), w.show)
	case StepInventory:
		return []func(){
			save(func() (Document, []Event) {
				return w.doc.compare(s.Token, inventory{private: w.objects}, w.now)
			}), w.show, w.counted}
	case StepPurge:
		return w.purge(s.Token)
	case StepDestroy:
		return append(destroy(Destroy), save(func() (Document, []Event) { return w.doc.destroyed(n, w.now) }), w.show)
	case StepGenerate:
		var objects []Attempt
		var keys []Key
		e := []func(){nil}
		for _, spec := range w.policy.Specs {
			w.ids++
			id := fmt.Appendf(nil, "id-%d", w.ids)
			objects = append(objects, Attempt{Token: "hsm", Spec: spec, ID: id})
			keys = append(keys, Key{Token: "hsm", Spec: spec, ID: id, KID: string(id)})
			e = append(e, func() { w.objects[string(id)], w.ended[string(id)] = true, true })
		}
		e[0] = func() {
			for _, o := range objects {
				w.ended[string(o.ID)] = true
			}
			w.save(w.doc.begin(objects, w.now))
		}
		return append(e, save(func() (Document, []Event) { return w.doc.made(n, keys, w.now) }), w.show)
	}
	panic(s.Kind)
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
		if !named[id] {
			w.t.Fatalf("%s is an orphan on the token", id)
		}
	}
}

// step does the first step that is due, up to the effect before which it is stopped (-1:
// none), and reports whether there was one. Each effect takes a while.
func (w *world) step(stop int) bool {
	steps, next := Plan(w.doc, w.policy, w.obs, w.now)
	if again, then := Plan(w.doc, w.policy, w.obs, w.now); !reflect.DeepEqual(steps, again) || next != then {
		w.t.Fatalf("Plan gives %v and %v for the same", steps, again)
	}
	if len(steps) == 0 {
		if active, _ := w.doc.Active(); active.impaired() && w.obs.counted("hsm") && !w.obs.ClockSuspect {
			if p, ok := w.doc.Pending(); ok && !w.now.Before(p.UsableFrom) {
				w.t.Fatalf("generation %d has lost a key and %d does not sign: %+v", active.Number, p.Number, w.doc)
			}
		}
		if !next.IsZero() {
			if early, _ := Plan(w.doc, w.policy, w.obs, next.Add(-1)); len(early) > 0 {
				w.t.Fatalf("%v is due before %v", early, next)
			}
			if due, _ := Plan(w.doc, w.policy, w.obs, next); len(due) == 0 {
				w.t.Fatalf("nothing is due at %v", next)
			}
		}
		return false
	}
	for i, effect := range w.effects(steps[0]) {
		if i == stop {
			w.cut(steps[0], i)
			return true
		}
		w.arrive()
		effect()
		w.inventory()
		w.now = w.now.Add(time.Duration(rapid.IntRange(0, int(time.Second)).Draw(w.t, "took")))
	}
	return true
}

func seconds(t *rapid.T, name string, from, to int) time.Duration {
	return time.Duration(rapid.IntRange(from, max(from, to)).Draw(t, name)) * time.Second
}

func drawPolicy(t *rapid.T) Policy {
	p := Policy{Token: "hsm", Usage: wire.Sign, Specs: []keyspec.Spec{keyspec.P256, keyspec.RSA2048}[:rapid.IntRange(1, 2).Draw(t, "specs")]}
	p.ClockSkew = seconds(t, "skew", 0, 60)
	p.VerifierCache = seconds(t, "cache", 0, 60)
	p.Retain = p.ClockSkew + seconds(t, "retain", 1, 7200)
	p.MaxTokenLifetime = p.Retain - p.ClockSkew
	p.Manual = rapid.IntRange(0, 9).Draw(t, "manual") == 9
	p.RetainUntilRevoked = rapid.IntRange(0, 9).Draw(t, "forever") == 9
	return drawTimes(t, p)
}

// drawTimes draws what a restart may change.
func drawTimes(t *rapid.T, p Policy) Policy {
	p.MaxAge = seconds(t, "max-age", 1, 3600)
	p.Lead = p.MaxAge + p.ClockSkew + p.VerifierCache + seconds(t, "lead", 1, 3600)
	p.Period = p.Lead + seconds(t, "period", 0, 3600)
	if err := p.Validate(); err != nil {
		t.Fatalf("drawn policy: %v", err)
	}
	return p
}

// tick lets time go by: mostly to the very instant at which something is due next, or just short of it.
func (w *world) tick() {
	_, next := Plan(w.doc, w.policy, w.obs, w.now)
	switch n := rapid.IntRange(0, 19).Draw(w.t, "tick"); {
	case n < 12 && !next.IsZero():
		w.now = next
	case n < 14 && !next.IsZero():
		w.now = next.Add(-1)
	case n < 19:
		w.now = w.now.Add(seconds(w.t, "while", 0, 7200))
	default:
		w.now = w.now.Add(30 * 24 * time.Hour)
	}
}

func TestInvariants(t *testing.T) {
	generations := 0
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			t: t, now: t0, policy: drawPolicy(t), doc: Document{Format: Format, Keyset: "default"},
			objects: map[string]bool{}, ended: map[string]bool{}, coming: map[string]time.Time{}, taken: map[string]bool{},
		}
		w.epoch()
		w.show()
		for range rapid.IntRange(1, 40).Draw(t, "rounds") {
			weather := rapid.IntRange(0, 9).Draw(t, "weather")
			switch w.obs.ClockSuspect = weather == 8; {
			case weather == 9:
				w.obs.Up, w.obs.Counted = nil, nil
			case weather == 7 || len(w.obs.Up) == 0:
				w.epoch()
			}
			w.theft()
			for stop := -1; w.step(stop); {
				if stop = rapid.IntRange(-5, 5).Draw(t, "stop"); stop >= 0 && rapid.Bool().Draw(t, "reconfigured") {
					w.policy = drawTimes(t, w.policy)
					w.show()
				}
			}
			w.tick()
		}
		// Whatever happened, a while of good weather brings everything into place.
		w.obs.ClockSuspect = false
		w.now = w.now.Add(time.Second)
		w.epoch()
		for range 2*lateAfter/time.Minute + 1 {
			for i := 0; w.step(-1); i++ {
				if i > 150 {
					t.Fatalf("Plan does not come to an end: %d generations, intents %v", len(w.doc.Generations), w.doc.Intents)
				}
			}
			w.now = w.now.Add(time.Minute)
			w.arrive()
		}
		for w.step(-1) {
			w.inventory()
		}
		w.settled()
		generations = max(generations, w.highest)
	})
	if generations < 10 {
		t.Errorf("no history had more than %d generations: they are too short to show anything", generations)
	}
}
