package rotation

import (
	"flag"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// histories are how many TestInvariants plays.
const histories = 10_000

// TestInvariants plays histories of everything that can happen to a keyset, against everybody who could suffer from it.
func TestInvariants(t *testing.T) {
	parts := []family{dynamic, dynamic, mixed, encryption}
	if os.Getenv("KEYSETD_SOAK") == "1" { // the long form, with certificates that are late, end, or do not come
		parts = append(parts, certified)
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", strconv.Itoa(histories/len(parts))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { flag.Set("rapid.checks", f.DefValue) })
	}
	for i, f := range parts {
		t.Run([]string{"dynamic", "dynamic too", "static and dynamic", "encryption", "with certificates"}[i], func(t *testing.T) {
			t.Parallel()
			var longest atomic.Int64
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(t, f)
				w.live(1 + w.upTo(22))
				w.rest()
				longest.Store(max(longest.Load(), int64(w.highest)))
			})
			if longest.Load() < 10 {
				t.Errorf("no history had more than %d generations: they are too short to show anything", longest.Load())
			}
		})
	}
}

// live lets time go by in so many rounds.
func (w *world) live(rounds int) {
	for range rounds {
		w.weather()
		w.theft()
		for stop := -1; w.step(stop, w.one(6)); stop = 4 - w.upTo(9) {
			if w.one(16) {
				w.act()
			}
		}
		w.act()
		w.certificates(false)
		for range w.upTo(2) {
			w.step(-1, false)
		}
		w.tick()
	}
}

// rest is a while of good weather, which brings everything into place.
func (w *world) rest() {
	w.off = w.accepts
	if w.suspect() {
		w.acceptClock()
	}
	if !w.configured && w.doc.Removed.IsZero() {
		w.configured = true
	}
	if w.governed() {
		doc, _ := w.doc.thaw(Act{}, w.now())
		w.save(doc)
	}
	w.real = w.real.Add(time.Second)
	w.epoch()
	w.show()
	for i := range 2*lateAfter/time.Minute + 1 {
		w.bring()
		if i > 1 && len(w.doc.Abandoned)+len(w.coming) == 0 {
			break // there is nothing that could come late
		}
		w.real = w.real.Add(time.Minute)
		w.arrive()
	}
	w.bring()
	w.certificates(true)
	w.bring()
	w.restAwhile()
	if _, ok := w.doc.Active(); !ok {
		if a, ok := w.doc.activation(w.rules()); ok {
			w.real = w.real.Add(max(0, a.at.Sub(w.now())))
			w.bring()
		}
	}
	w.settled()
}

// restAwhile lets certificates that are due again be issued: a day after the last attempt.
func (w *world) restAwhile() {
	w.calm = true
	for w.family == certified && w.governed() {
		_, next := Plan(w.doc, w.rules(), w.obs(), w.now())
		_, active := w.doc.Active()
		if waits := slices.ContainsFunc(w.doc.Generations, func(g Generation) bool {
			return g.State == Pending && !g.impaired() && w.doc.wanting(g, w.policy, w.now()) != "" && w.policy.awaitsChain()
		}); active || !waits || next.IsZero() {
			return
		}
		w.passes(w.real.Add(next.Sub(w.now())))
		w.bring()
	}
}

// bring does all that is due.
func (w *world) bring() {
	for i := 0; w.step(-1, false); i++ {
		if i > 150 {
			w.t.Fatalf("Plan does not come to an end: %d generations, intents %v, due %v", len(w.doc.Generations), w.doc.Intents, w.by)
		}
	}
}
