package rotation

import (
	"slices"
	"testing"
	"time"

	"keysetd.example/hsm"
)

// Until when a generation stays that was retired, and when that is put down.
func TestRetention(t *testing.T) {
	leaving := func(g *Generation) { g.Retired, g.RetainUntil = time.Time{}, time.Time{} }
	life := func(d time.Duration) func(*Generation) { return func(g *Generation) { g.Lifetime = d } }
	enc := func(p *Policy) { p.Usage, p.MaxMessageAge, p.MaxTokenLifetime = hsm.Decrypt, time.Hour, 0 }
	forever := func(p *Policy) { p.RetainUntilRevoked, p.Retain = true, 0 }
	for _, tt := range []struct {
		name   string
		g      Generation
		doc    func(*Document)
		policy func(*Policy)
		want   string // at 1h; "" if it has no end
	}{
		{name: "for retain, from the swap", g: gen(1, Retired, leaving), want: "13h"},
		{name: "retain lowered before: for what its tokens were promised", g: gen(1, Retired, leaving), policy: func(p *Policy) { p.Retain, p.MaxTokenLifetime = time.Minute, 20*time.Second }, want: "2h30s"},
		{name: "a longer promise", g: gen(1, Retired, leaving, life(20*time.Hour)), want: "21h30s"},
		{name: "skew lowered: by the clock that was believed", g: gen(1, Retired, leaving, life(20*time.Hour)), policy: func(p *Policy) { p.ClockSkew = time.Second }, want: "21h30s"},
		{name: "skew grown", g: gen(1, Retired, leaving, life(20*time.Hour)), policy: func(p *Policy) { p.ClockSkew = time.Minute }, want: "21h1m"},
		{name: "until revoked", g: gen(1, Retired, leaving), policy: forever},
		{name: "was put down: it stays so", g: gen(1, Retired), want: "12h"},
		{name: "whatever retain is now", g: gen(1, Retired), policy: func(p *Policy) { p.Retain = 48 * time.Hour }, want: "12h"},
		{name: "but if clocks are further off it is longer", g: gen(1, Retired), policy: func(p *Policy) { p.ClockSkew = time.Minute }, want: "12h30s"},
		{name: "until revoked from now on", g: gen(1, Retired), policy: forever},
		{name: "no longer until revoked: from now", g: gen(1, Retired, func(g *Generation) { g.RetainUntil = time.Time{} }), want: "13h"},
		{name: "and its tokens were promised more", g: gen(1, Retired, life(48*time.Hour), func(g *Generation) { g.RetainUntil = time.Time{} }), want: "49h30s"},
		{name: "named as previous", g: gen(1, Retired, of(rsaA)), policy: func(p *Policy) { *p = staticPolicy(rsaB, ecX, rsaA) }},
		{name: "named no longer", g: gen(1, Retired, of(rsaA), func(g *Generation) { g.RetainUntil = time.Time{} }), policy: func(p *Policy) { *p = staticPolicy(rsaB, ecX) }, want: "13h"},
		{name: "decrypting: until the last page with it is stale and the last message is old", g: gen(1, Retired, leaving), policy: enc, want: "13h"},
		{name: "and retain lowered with max-age", g: gen(1, Retired, leaving), doc: func(d *Document) { d.Served.MaxAge = 20 * time.Hour }, policy: enc, want: "22h30s"},
		{name: "or before it", g: gen(1, Retired, leaving), doc: func(d *Document) { d.StaleUntil = at("20h") }, policy: enc, want: "21h"},
		{name: "or messages could be older", g: gen(1, Retired, leaving, life(20*time.Hour)), policy: enc, want: "21h5m30s"},
		{name: "or can be now", g: gen(1, Retired), policy: func(p *Policy) { enc(p); p.MaxMessageAge = 3 * time.Hour }, want: "14h"},
		{name: "or pages are kept longer now", g: gen(1, Retired), policy: func(p *Policy) { enc(p); p.VerifierCache = time.Hour }, want: "13h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, policy := document(tt.g, gen(2, Active)), testPolicy()
			if tt.doc != nil {
				tt.doc(&doc)
			}
			if tt.policy != nil {
				tt.policy(&policy)
			}
			_, why := doc.unsettled(policy)
			settled, _ := doc.settle(policy, nil, at("1h"))
			got := settled.Generations[0].RetainUntil
			if tt.want == "" && !got.IsZero() || tt.want != "" && !got.Equal(at(tt.want)) {
				t.Errorf("retained until %v, want %q", got.Sub(t0), tt.want)
			}
			if changed := !got.Equal(tt.g.RetainUntil); changed && why == "" {
				t.Error("nobody noticed that there is something to put down")
			}
			if _, why := settled.unsettled(policy); why != "" {
				t.Errorf("still unsettled: %s", why)
			}
			// The watermark counts in Plan, since it may rise at any time.
			if tt.want != "" {
				obs := Observation{Up: up("hsm"), Counted: map[string]bool{"hsm": true}, Watermarks: map[int]time.Time{1: at("100h")}}
				skew := at("100h").Add(policy.ClockSkew)
				for now, leaves := range map[time.Time]bool{skew.Add(-1): false, skew: true} {
					steps, _ := Plan(settled, policy, obs, now)
					if got := slices.ContainsFunc(steps, func(s Step) bool { return s.Kind == StepWithdraw }); got != leaves {
						t.Errorf("with a watermark it leaves at %v: %v", now.Sub(t0), got)
					}
				}
			}
		})
	}
}

// Lifetime is written before the first token that needs it, and is never lowered.
func TestLifetime(t *testing.T) {
	policy := testPolicy()
	policy.MaxTokenLifetime = 10 * time.Hour
	doc := document(gen(1, Retired), gen(2, Active), gen(3, Pending))
	k := &Keyset{Configured: true, Policy: policy, Document: doc}
	if got := k.Guaranteed(); got != time.Hour {
		t.Errorf("guaranteed before it is put down: %v", got)
	}
	if n, why := doc.unsettled(policy); n != 2 || why == "" {
		t.Errorf("unsettled: %d, %s", n, why)
	}
	k.Document, _ = doc.settle(policy, nil, at("1h"))
	if gs := k.Document.Generations; gs[0].Lifetime != time.Hour || gs[1].Lifetime != 10*time.Hour || gs[2].Lifetime != 10*time.Hour || k.Guaranteed() != 10*time.Hour {
		t.Errorf("%+v", gs)
	}
	k.Policy = testPolicy()
	if lowered, _ := k.Document.settle(k.Policy, nil, at("2h")); lowered.Generations[1].Lifetime != 10*time.Hour || k.Guaranteed() != time.Hour {
		t.Errorf("lowered to %v, guaranteed %v", lowered.Generations[1].Lifetime, k.Guaranteed())
	}
	for name, k := range map[string]*Keyset{
		"not configured": {Policy: policy, Document: doc}, "nothing signs": {Configured: true, Policy: policy, Document: document(gen(3, Pending))},
	} {
		if got := k.Guaranteed(); got != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A first page with keys that only verify is a page: what comes next has to wait for its end.
func TestSettleAnyPage(t *testing.T) {
	doc := document(gen(1, Retired, of(rsaA), func(g *Generation) { g.Retired, g.RetainUntil = time.Time{}, time.Time{} }))
	doc.StaleUntil, doc.StaleSince = time.Time{}, time.Time{}
	doc, _ = doc.settle(staticPolicy(rsaB, ecX, rsaA), nil, t0)
	doc, _ = doc.adopted(Pending, []Key{rsaB, ecX}, staticPolicy(rsaB, ecX, rsaA), t0)
	if doc, _ = doc.settle(staticPolicy(rsaB, ecX, rsaA), nil, at("1s")); !doc.Generations[1].UsableFrom.Equal(at("5m31s")) {
		t.Errorf("it signs from %v", doc.Generations[1].UsableFrom)
	}
	// One that an operator had signing before anybody saw it: since when it is seen is put down.
	doc = document(gen(1, Active, func(g *Generation) { g.Published, g.UsableFrom = time.Time{}, time.Time{} }))
	if n, _ := doc.unsettled(testPolicy()); n != 1 {
		t.Errorf("unsettled: %d", n)
	}
	if doc, _ = doc.settle(testPolicy(), nil, at("1h")); !doc.Generations[0].UsableFrom.Equal(at("1h5m30s")) {
		t.Errorf("known from %v", doc.Generations[0].UsableFrom)
	}
}

// Keys that were revoked are destroyed whatever the clock; the rest of their generation is not.
func TestDestroyed(t *testing.T) {
	obs := Observation{Up: up("hsm"), Counted: map[string]bool{"hsm": true}, ClockSuspect: true}
	doc := document(gen(1, Retired, func(g *Generation) { g.Keys = []Key{ecX, rsaA, ecY} }), gen(2, Active))
	for _, kid := range []string{"X", "A"} {
		doc, _, _ = doc.revoke(RevokeAct{Act: Act{KID: kid}}, testPolicy(), true, t0)
	}
	doc, _ = doc.withdraw(1, at("12h"))
	if len(doc.Intents) != 2 || !doc.Intents[0].Revoked || len(doc.Intents[0].Objects) != 2 || doc.Intents[1].Revoked || len(doc.Intents[1].Objects) != 1 {
		t.Fatalf("%+v", doc.Intents)
	}
	if steps, _ := Plan(doc, testPolicy(), obs, at("13h")); len(steps) != 1 || steps[0].Kind != StepDestroy {
		t.Fatalf("%v", steps)
	}
	intent, _ := doc.intent(Destroy, 1)
	// One object at a time: what cannot be destroyed keeps its place on record.
	doc, events := doc.destroyed(1, intent.Objects[1:], at("13h"))
	if len(doc.Intents) != 2 || string(doc.Intents[0].Objects[0].ID) != "X" || !slices.Equal(events[0].KIDs, []string{"A"}) {
		t.Fatalf("%+v, %+v", doc.Intents, events)
	}
	doc, _ = doc.destroyed(1, intent.Objects[:1], at("13h"))
	if steps, _ := Plan(doc, testPolicy(), obs, at("13h")); len(steps) != 0 || len(doc.Intents) != 1 {
		t.Fatalf("the other one goes too: %v", steps)
	}
	obs.ClockSuspect = false
	if steps, _ := Plan(doc, testPolicy(), obs, at("13h")); !slices.ContainsFunc(steps, func(s Step) bool { return s.Kind == StepDestroy }) {
		t.Fatalf("it does not go: %v", steps)
	}
	intent, _ = doc.intent(Destroy, 1)
	if doc, _ = doc.destroyed(1, intent.Objects, at("13h")); doc.Intents != nil {
		t.Errorf("left: %+v", doc.Intents)
	}
}

// What is the administrator's stays, and so does what he named as his.
func TestWithdrawLeavesStaticKeys(t *testing.T) {
	mine := gen(1, Retired, func(g *Generation) { g.Keys = []Key{ecX, ecY} })
	for _, tt := range []struct {
		name string
		doc  Document
		want []string
	}{
		{"a dynamic generation", document(mine), []string{"X", "Y"}},
		{"one of its keys is named static now", document(mine, gen(2, Active, of(ecX))), []string{"Y"}},
		{"a static one", document(gen(1, Retired, of(ecX)), gen(2, Active, of(ecY))), nil},
	} {
		doc, _ := tt.doc.withdraw(1, at("12h"))
		var got []string
		for _, i := range doc.Intents {
			for _, o := range i.Objects {
				got = append(got, o.KID)
			}
		}
		if err := doc.Validate(); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v are to be destroyed (%v)", tt.name, got, err)
		}
	}
}

func TestDismiss(t *testing.T) {
	doc, events := document(gen(1, Active), gen(2, Pending, misfit)).dismiss(2, at("1h"))
	if g, _ := doc.Find(2); g.State != Retired || len(events) != 1 || events[0].What != "dismissed" {
		t.Fatalf("%+v, %+v", g, events)
	}
	if doc, _ = doc.settle(testPolicy(), nil, at("1h")); !doc.Generations[1].RetainUntil.Equal(at("13h")) {
		t.Errorf("it stays until %v", doc.Generations[1].RetainUntil)
	}
}

func TestConflict(t *testing.T) {
	enc := testPolicy()
	enc.Usage = hsm.Decrypt
	with := func(u hsm.Usage) Document {
		return document(gen(1, Active, func(g *Generation) { g.Keys[0].Usage = u }))
	}
	for _, tt := range []struct {
		doc    Document
		policy Policy
		want   bool
	}{
		{with(""), testPolicy(), false}, {with(hsm.Sign), testPolicy(), false}, {with(hsm.Derive), enc, false}, {with(hsm.Decrypt), enc, false},
		{with(hsm.Sign), enc, true}, {with(""), enc, true}, {with(hsm.Derive), testPolicy(), true}, {document(), enc, false},
	} {
		if why := tt.doc.conflict(tt.policy); (why != "") != tt.want {
			t.Errorf("%+v, %s: %q", tt.doc.Generations, tt.policy.Usage, why)
		}
	}
}
