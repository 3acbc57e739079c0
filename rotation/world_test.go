package rotation

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"

	"keysetd.example/internal/keyspec"
)

var testAlgorithms = []jose.SignatureAlgorithm{jose.RS384, jose.PS256}

// world is one keyset, its store, its token, its page, and every verifier that could be. It
// carries out what Plan says, and what operators want, effect by effect, and may stop between any two.
type world struct {
	t      *rapid.T
	family family
	// real is the time as everybody else has it. The clock is off by something, and this was accepted.
	real         time.Time
	off, accepts time.Duration

	configured bool
	policy     Policy
	past       Policy // the configuration before
	up         map[string]time.Time
	counts     map[string]bool

	doc     Document          // in the store
	marks   map[int]time.Time // in the store
	saves   int
	highest int // the highest number ever seen
	by      Step

	objects map[string]bool // on the token, by CKA_ID
	admin   map[string]Key  // the administrator's
	named   map[string]bool // ours that he named as his
	kept    map[string]bool // those that were revoked and are to stay
	ids     int
	ended   map[string]bool      // attempts that surely ended
	coming  map[string]time.Time // what the token will have made, of attempts that were cut off
	taken   map[string]bool      // what somebody took from the token
	thefts  bool                 // somebody ever did
	calm    bool                 // issuers of certificates are reliable

	Verifiers
}

func newWorld(t *rapid.T, f family) *world {
	w := &world{
		t: t, family: f, real: t0, configured: true, doc: Document{Format: Format, Keyset: "default"}, marks: map[int]time.Time{},
		objects: map[string]bool{}, admin: map[string]Key{}, named: map[string]bool{}, kept: map[string]bool{}, ended: map[string]bool{},
		coming: map[string]time.Time{}, taken: map[string]bool{},
	}
	for i, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.RSA2048, keyspec.P256, keyspec.P256, keyspec.P256} {
		id := fmt.Sprintf("admin-%d", i)
		w.admin[id] = Key{Spec: spec, Token: "hsm", ID: []byte(id), Label: id, KID: id}
		w.objects[id] = true
	}
	w.policy = w.draw(Policy{})
	t.Logf("%v: %+v", w.now(), w.policy)
	w.past = w.policy
	w.epoch()
	w.show()
	return w
}

// now is what the clock says.
func (w *world) now() time.Time { return w.real.Add(w.off) }

// suspect is what the Manager notices of the clock. Of a step within the skew it would notice nothing: that is
// what the skew is for, of which verifiers here make full use themselves.
func (w *world) suspect() bool {
	return w.off != w.accepts || w.now().Add(w.rules().ClockSkew).Before(w.doc.newest())
}

func (w *world) obs() Observation {
	return Observation{Up: w.up, Counted: w.counts, ClockSuspect: w.suspect(), Watermarks: w.marks}
}

// rules is the policy that the Manager follows; without Period and Retain where it follows none.
func (w *world) rules() Policy {
	switch {
	case w.configured:
		return w.policy
	case !w.doc.Removed.IsZero():
		return w.doc.farewell()
	}
	return Policy{}
}

// show swaps the page and the signers.
func (w *world) show() {
	k := Keyset{Configured: w.configured, Policy: w.rules(), Document: w.doc}
	w.behind = max(0, w.accepts-w.off)
	w.hidden = w.hides()
	if err := w.Show(w.doc, w.rules(), k.MaxAge(), w.real); err != nil {
		w.t.Fatal(err)
	}
}

// save puts doc into the store.
func (w *world) save(doc Document) {
	if err := doc.Validate(); err != nil {
		w.t.Fatalf("document: %v", err)
	}
	if w.saves++; w.saves%64 == 0 {
		doc = w.reread(doc)
	}
	for _, i := range doc.Intents {
		if _, there := w.doc.intent(i.Kind, i.Generation); i.Kind == Generate && !there {
			w.count(i.Generation)
		}
	}
	for _, g := range doc.Generations {
		if w.doc.index(g.Number) >= 0 {
			continue
		}
		if g.Number > w.highest { // adopted
			w.count(g.Number)
		} else if _, begun := w.doc.intent(Generate, g.Number); !begun {
			w.t.Fatalf("generation %d comes from nowhere", g.Number)
		}
	}
	w.rulesHold(w.doc, doc)
	w.doc = doc
	maps.DeleteFunc(w.marks, func(n int, _ time.Time) bool { return doc.index(n) < 0 })
}

func (w *world) count(number int) {
	if number <= w.highest {
		w.t.Fatalf("number %d is given after %d", number, w.highest)
	}
	w.highest = number
}

func (w *world) reread(doc Document) (again Document) {
	b, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return again
}

// rulesHold checks a change of the document that Plan wanted, and a rotation by hand, against the rules of lead,
// period, freezing and clocks. Verifiers know nothing of these.
func (w *world) rulesHold(before, after Document) {
	if w.by.Kind == "" {
		return
	}
	now, policy, suspect := w.now(), w.rules(), w.suspect()
	frozen := before.FrozenUntil.After(now)
	old, signed := before.Active()
	next, signs := after.Active()
	if signs && next.Number != old.Number {
		g, _ := before.Find(next.Number)
		switch {
		case suspect:
			w.t.Fatalf("generation %d is activated while the clock is suspect", next.Number)
		case g.impaired():
			w.t.Fatalf("generation %d is activated without its keys: %+v", next.Number, g)
		case !signed || old.impaired():
		case frozen:
			w.t.Fatalf("generation %d is activated in a freeze", next.Number)
		case !g.fits(policy):
			w.t.Fatalf("generation %d is activated and not wanted", next.Number)
		case !policy.Encrypts() && now.Before(g.Published.Add(policy.Lead)):
			w.t.Fatalf("generation %d is activated before its lead %v is over", next.Number, policy.Lead)
		case next.Scheduled.Before(now.Add(-policy.Period / 10)):
			w.t.Fatalf("the period of generation %d began at %v", next.Number, next.Scheduled)
		case w.by.Kind == StepActivate && old.fits(policy) && (policy.byHand() || now.Sub(old.Scheduled) < policy.Period && now.Sub(old.Activated) < policy.Period+policy.Jitter):
			w.t.Fatalf("generation %d is activated before the period of %d is over", next.Number, old.Number)
		}
	}
	for _, g := range before.Generations {
		i := after.index(g.Number)
		switch {
		case i < 0 && (frozen || suspect):
			w.t.Fatalf("generation %d is withdrawn in a freeze (%v) or while the clock is suspect (%v)", g.Number, frozen, suspect)
		case i >= 0 && suspect && after.Generations[i].State != g.State:
			w.t.Fatalf("generation %d is %s while the clock is suspect", g.Number, after.Generations[i].State)
		}
	}
	for _, e := range before.Entries {
		later, there := after.entry(e.Algorithm)
		if before.StaleUntil.IsZero() {
			continue // nobody has to learn of it
		}
		if (frozen || suspect) && (!there || later.State == Active && e.State != Active) {
			w.t.Fatalf("the entry of %s goes on in a freeze (%v) or while the clock is suspect (%v)", e.Algorithm, frozen, suspect)
		}
	}
}
