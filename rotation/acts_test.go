package rotation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

var by = Act{By: "uid 1000", Why: "because"}

// refused checks that err is a refusal of this kind, at this time ("": none), in words that name both sides.
func refused(t *testing.T, err error, kind RefusalKind, when string, words ...string) {
	t.Helper()
	r, ok := errors.AsType[*Refusal](err)
	if !ok || r.Kind != kind || (when == "") != r.At.IsZero() || when != "" && !r.At.Equal(at(when)) {
		t.Fatalf("%#v, want %s at %q", err, kind, when)
	}
	for _, w := range append(words, "keyset default") {
		if !strings.Contains(r.Detail, w) {
			t.Errorf("%q does not say %q", r.Detail, w)
		}
	}
}

func TestRotatable(t *testing.T) {
	kid := func(kid string) Act { a := by; a.KID = kid; return a }
	spent := document(gen(1, Active), gen(2, Pending))
	spent.Allowance = at("31h")
	gone := document(gen(1, Active), gen(2, Pending))
	gone.Revoked = []Revocation{{KID: "revoked"}}
	for _, tt := range []struct {
		name   string
		doc    Document
		act    Act
		policy Policy
		now    string
		want   int
		done   bool
		kind   RefusalKind
		at     string
		words  []string
	}{
		{name: "the lead is over", doc: document(gen(1, Active), gen(2, Pending)), now: "6h", want: 2},
		{name: "not by a nanosecond", doc: document(gen(1, Active), gen(2, Pending)), now: "5h59m59.999999999s", kind: RefusedNotYet, at: "6h", words: []string{"generation 2", "2026-03-01T12:00:00Z", "2026-03-01T18:00:00Z"}},
		{name: "not known by then", doc: document(gen(1, Active), gen(2, Pending, knownFrom("9h"))), now: "7h", kind: RefusedNotYet, at: "9h", words: []string{"may sign from 2026-03-01T21:00:00Z on, when its lead is over"}},
		{name: "verifiers said to cache for longer, not put down yet", doc: document(gen(1, Active), gen(2, Pending, knownFrom("7h"))), policy: func() Policy { p := testPolicy(); p.VerifierCache = time.Hour; return p }(), now: "7h", kind: RefusedNotYet, at: "8h"},
		{name: "the key that signs is meant", doc: document(gen(1, Active), gen(2, Pending)), act: kid("kid-1"), now: "6h", want: 2},
		{name: "it was done before", doc: document(gen(1, Retired), gen(2, Active)), act: kid("kid-1"), now: "6h", done: true},
		{name: "or that key was revoked", doc: gone, act: kid("revoked"), now: "6h", done: true},
		{name: "no such key", doc: gone, act: kid("who"), now: "6h", kind: RefusedUnknownKID, words: []string{`"who"`}},
		{name: "one that never signed", doc: document(gen(1, Active), gen(2, Pending)), act: kid("kid-2"), now: "6h", kind: RefusedUnknownKID},
		{name: "not the unwanted one", doc: document(gen(1, Active), gen(2, Pending, misfit), gen(3, Pending)), now: "6h", want: 3},
		{name: "not an impaired one", doc: document(gen(1, Active), gen(2, Pending, lost), gen(3, Pending)), now: "6h", want: 3},
		{name: "nothing is pending", doc: document(gen(1, Active)), now: "6h", kind: RefusedNotYet},
		{name: "nobody has seen it", doc: document(gen(1, Active), unpublished(2)), now: "6h", kind: RefusedNotYet},
		{name: "frozen", doc: frozen("9h", gen(1, Active), gen(2, Pending)), now: "6h", kind: RefusedFrozen, at: "9h", words: []string{"2026-03-01T21:00:00Z"}},
		{name: "it was", doc: frozen("6h", gen(1, Active), gen(2, Pending)), now: "6h", want: 2},
		{name: "nothing signs", doc: document(gen(2, Pending)), now: "6h", kind: RefusedNotYet},
		{name: "removed", doc: removed(gen(1, Active), gen(2, Pending)), now: "6h", kind: RefusedNotYet},
		{name: "static", doc: document(gen(1, Active)), policy: staticPolicy(rsaA, ecX), now: "6h", kind: RefusedBadRequest},
		{name: "too often", doc: spent, now: "7h", kind: RefusedRateLimited, at: "11h48m", words: []string{"5 rotations", "possible at 2026-03-01T23:48:00Z"}},
		{name: "and then", doc: spent, now: "11h48m", want: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.policy.Token == "" {
				tt.policy = testPolicy()
			}
			got, done, err := tt.doc.rotatable(tt.act, tt.policy, at(tt.now))
			if tt.kind != "" {
				refused(t, err, tt.kind, tt.at, tt.words...)
			} else if err != nil {
				t.Fatal(err)
			}
			if got != tt.want || done != tt.done {
				t.Errorf("generation %d, done %v", got, done)
			}
		})
	}
	doc, events := document(gen(1, Active), gen(2, Pending)).rotate(2, by, testPolicy(), at("6h"))
	if g, _ := doc.Active(); g.Number != 2 || !doc.Allowance.Equal(at("10h48m")) || len(events) != 1 || events[0].By != "uid 1000" || events[0].Why != "because" || events[0].What != "activated" {
		t.Errorf("%+v, %+v", doc, events)
	}
}

func TestRevoke(t *testing.T) {
	two := func(g *Generation) {
		g.Keys = append(g.Keys, Key{Spec: keyspec.RSA2048, Token: "hsm", ID: []byte{byte(g.Number), 2}, KID: fmt.Sprintf("rsa-%d", g.Number)})
	}
	known := gen(3, Pending, knownFrom("30m"))
	for _, tt := range []struct {
		name      string
		doc       Document
		act       RevokeAct
		policy    func(*Policy)
		suspect   bool
		states    string // of the generations left, and how many keys they have
		revoked   string
		destroyed string
		waits     bool // for a generation to be made
	}{
		{name: "a retired one", doc: document(gen(1, Retired), gen(2, Active), known), act: RevokeAct{Act: Act{KID: "kid-1"}},
			states: "2 active 1, 3 pending 1", revoked: "kid-1", destroyed: "1: 01"},
		{name: "the active one: the next that is known", doc: document(gen(2, Active), known), act: RevokeAct{Act: Act{KID: "kid-2"}},
			states: "3 active 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "not known: nothing signs", doc: document(gen(2, Active), gen(3, Pending, knownFrom("2h"))), act: RevokeAct{Act: Act{KID: "kid-2"}},
			states: "3 pending 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "not known, and accepted", doc: document(gen(2, Active), gen(3, Pending, knownFrom("2h"))), act: RevokeAct{Act: Act{KID: "kid-2"}, AcceptUnpublished: true},
			states: "3 active 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "accepted, but one is known", doc: document(gen(2, Active), unpublished(3), gen(4, Pending, knownFrom("30m"))), act: RevokeAct{Act: Act{KID: "kid-2"}, AcceptUnpublished: true},
			states: "3 pending 1, 4 active 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "accepted: the one that is known first", doc: document(gen(2, Active), unpublished(3), gen(4, Pending, knownFrom("3h")), gen(5, Pending, knownFrom("2h"))), act: RevokeAct{Act: Act{KID: "kid-2"}, AcceptUnpublished: true},
			states: "3 pending 1, 4 pending 1, 5 active 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "accepted, and nothing is there", doc: document(gen(2, Active)), act: RevokeAct{Act: Act{KID: "kid-2"}, AcceptUnpublished: true},
			revoked: "kid-2", destroyed: "2: 02", waits: true},
		{name: "whoever accepts afterwards", doc: func() Document {
			d, _, _ := document(gen(2, Active), gen(3, Pending, knownFrom("2h"))).revoke(RevokeAct{Act: Act{KID: "kid-2"}}, testPolicy(), true, at("1h"))
			return d
		}(), act: RevokeAct{Act: Act{KID: "kid-2"}, AcceptUnpublished: true}, states: "3 active 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "the clock is suspect: nobody knows what is known", doc: document(gen(2, Active), known), act: RevokeAct{Act: Act{KID: "kid-2"}}, suspect: true,
			states: "3 pending 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "verifiers said to cache for longer, not put down yet", doc: document(gen(2, Active), known), act: RevokeAct{Act: Act{KID: "kid-2"}},
			policy: func(p *Policy) { p.VerifierCache = time.Hour }, states: "3 pending 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "it ignores a freeze", doc: frozen("20h", gen(2, Active), known), act: RevokeAct{Act: Act{KID: "kid-2"}}, states: "3 active 1", revoked: "kid-2", destroyed: "2: 02"},
		{name: "one of two keys: the next one, with both", doc: document(gen(2, Active, two), gen(3, Pending, two, knownFrom("30m"))), act: RevokeAct{Act: Act{KID: "rsa-2"}},
			states: "2 retired 1, 3 active 2", revoked: "rsa-2", destroyed: "2: 0202"},
		{name: "and if that is not known the other one signs on", doc: document(gen(2, Active, two), gen(3, Pending, two, knownFrom("2h"))), act: RevokeAct{Act: Act{KID: "rsa-2"}},
			states: "2 active 1, 3 pending 2", revoked: "rsa-2", destroyed: "2: 0202"},
		{name: "of a pending one: it never signs", doc: document(gen(2, Active, two), gen(3, Pending, two)), act: RevokeAct{Act: Act{KID: "rsa-3"}},
			states: "2 active 2, 3 pending 1", revoked: "rsa-3", destroyed: "3: 0302"},
		{name: "kept", doc: document(gen(1, Retired), gen(2, Active)), act: RevokeAct{Act: Act{KID: "kid-1"}, KeepObject: true}, states: "2 active 1", revoked: "kid-1 kept"},
		{name: "all", doc: document(gen(1, Retired), gen(2, Active, two), known), act: RevokeAct{All: true},
			revoked: "kid-1, kid-2, rsa-2, kid-3", destroyed: "1: 01, 2: 02 0202, 3: 03"},
		{name: "a static one, which stays on its token", doc: document(gen(1, Active, of(rsaA, ecX))), act: RevokeAct{Act: Act{KID: "A"}}, states: "1 active 1", revoked: "A kept"},
		{name: "a static one of two generations", doc: document(gen(1, Active, of(rsaA, ecX)), gen(2, Pending, of(rsaB, ecX))), act: RevokeAct{Act: Act{KID: "X"}},
			states: "1 active 1, 2 pending 1", revoked: "X kept"},
		{name: "a dynamic one that he named as static since", doc: document(gen(1, Active, func(g *Generation) { g.Keys = []Key{ecX} }), gen(2, Pending, of(rsaB, ecX))), act: RevokeAct{Act: Act{KID: "X"}},
			states: "2 pending 1", revoked: "X kept"},
		{name: "of a removed keyset: nothing signs", doc: removed(gen(1, Retired), gen(2, Retired)), act: RevokeAct{Act: Act{KID: "kid-1"}, AcceptUnpublished: true}, states: "2 retired 1", revoked: "kid-1", destroyed: "1: 01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			policy := testPolicy()
			if tt.policy != nil {
				tt.policy(&policy)
			}
			tt.act.By, tt.act.Why = "uid 1000", "because"
			doc, events, err := tt.doc.revoke(tt.act, policy, !tt.suspect, at("1h"))
			if err != nil {
				t.Fatal(err)
			}
			if err := doc.Validate(); err != nil {
				t.Error(err)
			}
			var states, revoked, destroyed []string
			for _, g := range doc.Generations {
				states = append(states, fmt.Sprintf("%d %s %d", g.Number, g.State, len(g.Keys)))
			}
			for _, r := range doc.Revoked {
				if name := r.KID; r.Kept {
					revoked = append(revoked, name+" kept")
				} else {
					revoked = append(revoked, name)
				}
				if r.By != "uid 1000" && len(tt.doc.Revoked) == 0 {
					t.Errorf("%+v", r)
				}
			}
			for _, i := range doc.Intents {
				if i.Kind != Destroy || !i.Revoked {
					t.Errorf("intent %+v", i)
				}
				var ids []string
				for _, o := range i.Objects {
					ids = append(ids, fmt.Sprintf("%x", o.ID))
				}
				destroyed = append(destroyed, fmt.Sprintf("%d: %s", i.Generation, strings.Join(ids, " ")))
			}
			for i, got := range []string{strings.Join(states, ", "), strings.Join(revoked, ", "), strings.Join(destroyed, ", ")} {
				if want := []string{tt.states, tt.revoked, tt.destroyed}[i]; got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
			if doc.AcceptUnpublished != tt.waits {
				t.Errorf("accepted for later: %v", doc.AcceptUnpublished)
			}
			for _, e := range events {
				if e.By != "uid 1000" || e.Why != "because" || !e.At.Equal(at("1h")) {
					t.Errorf("event %+v", e)
				}
			}
			// Once more changes nothing.
			again, events, err := doc.revoke(tt.act, policy, !tt.suspect, at("1h1s"))
			if err != nil || len(events) != 0 || len(again.Revoked) != len(doc.Revoked) || len(again.Intents) != len(doc.Intents) {
				t.Errorf("the second time: %v, %+v", err, events)
			}
		})
	}
	_, _, err := document(gen(1, Active)).revoke(RevokeAct{Act: Act{KID: "who"}}, testPolicy(), true, t0)
	refused(t, err, RefusedUnknownKID, "", `"who"`)
}

// The first page may be held although nothing of it is put down: what comes next is not the first.
func TestRevokeRemembersTheFirstPage(t *testing.T) {
	first := document(unpublished(1))
	first.StaleUntil, first.StaleSince = time.Time{}, time.Time{}
	doc, _, err := first.revoke(RevokeAct{All: true}, testPolicy(), true, t0)
	if err != nil || !doc.StaleUntil.Equal(at("5m30s")) || !doc.StaleSince.Equal(t0) {
		t.Fatalf("%v, stale until %v", err, doc.StaleUntil)
	}
	doc.Generations = []Generation{unpublished(2)}
	doc, _ = doc.settle(testPolicy(), nil, at("1s"))
	if g := doc.Generations[0]; g.UsableFrom.Before(at("5m30s")) {
		t.Errorf("the next one signs from %v", g.UsableFrom)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	week := 7 * 24 * time.Hour
	doc, events, err := document(gen(1, Active)).freeze(by, t0.Add(week), testPolicy(), t0)
	if err != nil || !doc.FrozenUntil.Equal(t0.Add(week)) || len(events) != 1 || events[0].What != "frozen" || !strings.Contains(events[0].Why, "2026-03-08T12:00:00Z: because") {
		t.Fatalf("%v, %+v, %+v", err, doc.FrozenUntil, events)
	}
	if again, events, err := doc.freeze(by, t0.Add(week), testPolicy(), at("1h")); err != nil || len(events) != 0 || !again.FrozenUntil.Equal(doc.FrozenUntil) {
		t.Errorf("again: %v, %+v", err, events)
	}
	if less, _, err := doc.freeze(by, at("2h"), testPolicy(), at("1h")); err != nil || !less.FrozenUntil.Equal(at("2h")) {
		t.Errorf("for less: %v, %v", err, less.FrozenUntil)
	}
	for _, until := range []time.Time{t0, at("-1h"), {}} {
		_, _, err = document().freeze(by, until, testPolicy(), t0)
		refused(t, err, RefusedBadRequest, "", "not in the future")
	}
	_, _, err = doc.freeze(by, t0.Add(week+1), testPolicy(), t0)
	refused(t, err, RefusedBadRequest, "", "max_freeze 7d", "2026-03-08T12:00:00Z")

	doc, events = doc.thaw(by, at("1h"))
	if !doc.FrozenUntil.IsZero() || len(events) != 1 || events[0].What != "thawed" || events[0].By != "uid 1000" {
		t.Errorf("%v, %+v", doc.FrozenUntil, events)
	}
	if _, events = doc.thaw(by, at("1h")); len(events) != 0 {
		t.Errorf("again: %+v", events)
	}
	if _, events = frozen("1h", gen(1, Active)).thaw(by, at("1h")); len(events) != 0 {
		t.Errorf("one that is over: %+v", events)
	}
}

func TestRemoveAndRestore(t *testing.T) {
	policy := testPolicy()
	doc, events := accepted(frozen("9h", gen(1, Retired), gen(2, Active), gen(3, Pending))).remove(by, policy, at("1h"))
	if !doc.Removed.Equal(at("1h")) || !doc.FrozenUntil.IsZero() || doc.AcceptUnpublished || len(events) != 1 || events[0].What != "keyset removed" {
		t.Fatalf("%+v, %+v", doc, events)
	}
	for _, g := range doc.Generations {
		if g.State != Retired {
			t.Errorf("generation %d is %s", g.Number, g.State)
		}
	}
	if _, events := doc.remove(by, policy, at("2h")); len(events) != 0 {
		t.Errorf("again: %+v", events)
	}
	// They go as they would have: each in its time, nothing is made, nothing signs.
	obs := Observation{Up: up("hsm"), Counted: map[string]bool{"hsm": true}}
	doc, _ = doc.settle(doc.farewell(), nil, at("1h1s"))
	if _, why := doc.unsettled(doc.farewell()); why != "" {
		t.Errorf("unsettled: %s", why)
	}
	for now, want := range map[string][]int{"2h": nil, "12h": {1}, "13h": {1}, "13h1s": {1, 2, 3}} {
		var got []int
		steps, _ := Plan(doc, doc.farewell(), obs, at(now))
		for _, s := range steps {
			if got = append(got, s.Generation); s.Kind != StepWithdraw {
				t.Errorf("at %s: %v", now, s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %s %v leave, want %v", now, got, want)
		}
	}
	// Back again: what it had stays retired, and the next is new to verifiers, who may hold pages of before.
	back, events := doc.restore(at("2h"))
	if !back.Removed.IsZero() || len(events) != 1 || events[0].What != "keyset back" {
		t.Errorf("%+v, %+v", back, events)
	}
	steps, _ := Plan(back, policy, obs, at("2h"))
	if len(steps) != 1 || steps[0].Kind != StepGenerate || steps[0].Generation != 10 {
		t.Errorf("back: %v", steps)
	}
	back.Generations = append(back.Generations, unpublished(9))
	if back, _ = back.settle(policy, nil, at("2h")); !back.Generations[3].UsableFrom.Equal(at("2h5m30s")) {
		t.Errorf("the next one signs from %v", back.Generations[3].UsableFrom)
	}
	// By its farewell a keyset that decrypts is one still.
	enc := document(gen(1, Active, func(g *Generation) { g.Keys[0].Usage = hsm.Derive }))
	policy.Usage, policy.MaxMessageAge = hsm.Decrypt, time.Hour
	if enc, _ = enc.remove(by, policy, t0); !enc.farewell().Encrypts() {
		t.Error("its farewell is that of one that signs")
	}
	if k := (&Keyset{Document: enc, Policy: enc.farewell()}); len(k.Published()) != 0 {
		t.Errorf("its page shows %+v", k.Published())
	}
	forever := testPolicy()
	forever.RetainUntilRevoked, forever.Retain = true, 0
	if kept, _ := document(gen(1, Active)).remove(by, forever, t0); !kept.farewell().RetainUntilRevoked {
		t.Error("it was to stay until revoked")
	}
}

// When something is possible is told rounded up: whoever comes then is not too early.
func TestInstantIsRoundedUp(t *testing.T) {
	whole := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time]string{
		whole: "2026-03-01T12:00:00Z", whole.Add(1): "2026-03-01T12:00:01Z", whole.Add(999 * time.Millisecond): "2026-03-01T12:00:01Z",
	} {
		if got := instant(at); got != want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
}
