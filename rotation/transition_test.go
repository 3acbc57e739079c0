package rotation

import (
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
)

func unpublished(number int) Generation {
	return gen(number, Pending, func(g *Generation) { g.Published, g.UsableFrom = time.Time{}, time.Time{} })
}

// With max-age 5m, skew 30s and no verifier cache, a body is used for 5m30s.
func TestSettlePublished(t *testing.T) {
	for _, tt := range []struct {
		name              string
		doc               func(*Document)
		policy            func(*Policy)
		stale, usableFrom string
	}{
		{name: "no body was ever served", doc: func(d *Document) { d.StaleUntil = time.Time{} }, stale: "1h", usableFrom: "1h"},
		{name: "no body was ever served, nor any freshness put down",
			doc: func(d *Document) { d.StaleUntil, d.Served = time.Time{}, Freshness{} }, stale: "1h30s", usableFrom: "1h"},
		{name: "the first page, served with a longer max-age by a daemon that crashed",
			doc: func(d *Document) { d.StaleUntil, d.Served.MaxAge = time.Time{}, time.Hour }, stale: "2h30s", usableFrom: "1h"},
		{name: "bodies of the page before", stale: "1h5m30s", usableFrom: "1h5m30s"},
		{name: "bodies of an earlier page with a longer max-age", doc: func(d *Document) { d.StaleUntil = at("3h") }, stale: "3h", usableFrom: "3h"},
		{name: "max-age lowered at this restart",
			policy: func(p *Policy) { p.MaxAge = time.Second }, stale: "1h5m30s", usableFrom: "1h5m30s"},
		{name: "max-age raised at this restart: bodies of before are as they were",
			policy: func(p *Policy) { p.MaxAge = time.Hour }, stale: "1h5m30s", usableFrom: "1h5m30s"},
		{name: "verifiers now said to cache for longer: these bodies too",
			policy: func(p *Policy) { p.VerifierCache = time.Hour }, stale: "2h5m30s", usableFrom: "2h5m30s"},
		{name: "and those of an earlier page",
			doc: func(d *Document) { d.StaleUntil = at("3h") }, policy: func(p *Policy) { p.VerifierCache = time.Hour }, stale: "4h", usableFrom: "4h"},
		{name: "verifiers now said to cache for less: not those of before",
			doc: func(d *Document) { d.Served.VerifierCache = time.Hour }, stale: "2h5m30s", usableFrom: "2h5m30s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, policy := document(gen(1, Active), unpublished(2)), testPolicy()
			if tt.doc != nil {
				tt.doc(&doc)
			}
			if tt.policy != nil {
				tt.policy(&policy)
			}
			doc, events := doc.settle(policy, nil, at("1h"))
			g, _ := doc.Find(2)
			if !g.Published.Equal(at("1h")) || !g.UsableFrom.Equal(at(tt.usableFrom)) || !doc.StaleUntil.Equal(at(tt.stale)) {
				t.Errorf("published %v, usable from %v, stale until %v; want 1h, %s, %s", g.Published, g.UsableFrom, doc.StaleUntil, tt.usableFrom, tt.stale)
			}
			if doc.Served != policy.freshness() {
				t.Errorf("served is %+v after a page of %+v", doc.Served, policy.freshness())
			}
			if len(events) != 1 || events[0].What != "published" || events[0].Generation != 2 {
				t.Errorf("events %+v", events)
			}
			if _, why := doc.unsettled(policy); why != "" {
				t.Errorf("still unsettled: %s", why)
			}
		})
	}
}

func TestSettleFreshness(t *testing.T) {
	policy := testPolicy()
	doc := document(gen(1, Active), gen(2, Pending))
	doc.StaleUntil = at("10m")

	lowered := policy
	lowered.MaxAge = time.Minute
	got, _ := doc.settle(lowered, nil, at("1h"))
	if g, _ := got.Find(2); !got.StaleUntil.Equal(at("1h5m30s")) || !g.UsableFrom.Equal(at("5m30s")) {
		t.Errorf("max-age lowered: stale until %v, pending usable from %v", got.StaleUntil, g.UsableFrom)
	}
	// A generation published a minute later waits for the bodies of before.
	got.Generations = append(got.Generations, unpublished(3))
	got, _ = got.settle(lowered, nil, at("1h1m"))
	if g, _ := got.Find(3); !g.UsableFrom.Equal(at("1h5m30s")) {
		t.Errorf("published after max-age was lowered: usable from %v", g.UsableFrom)
	}

	skewed := policy
	skewed.ClockSkew += time.Minute
	got, _ = doc.settle(skewed, nil, at("1h"))
	if g, _ := got.Find(2); !g.UsableFrom.Equal(at("6m30s")) {
		t.Errorf("skew grown by a minute: pending usable from %v", g.UsableFrom)
	}

	// Nothing was served, so nothing can be stale.
	fresh := Document{Format: Format, Keyset: "default"}
	if got, _ := fresh.settle(policy, nil, t0); !got.StaleUntil.IsZero() || got.Served != policy.freshness() {
		t.Errorf("a keyset never served: stale until %v, served %+v", got.StaleUntil, got.Served)
	}
}

func TestActivateRetireWithdrawDestroy(t *testing.T) {
	policy := testPolicy()
	doc := document(gen(1, Active), gen(2, Pending))
	doc, events := doc.activate(2, policy, event(eventActivated, 2, nil, at("12h"), "because"))
	one, _ := doc.Find(1)
	two, _ := doc.Active()
	if two.Number != 2 || !two.Activated.Equal(at("12h")) || one.State != Retired || !one.Retired.IsZero() || !one.RetainUntil.IsZero() {
		t.Fatalf("after activate: %+v", doc.Generations)
	}
	if len(events) != 1 || events[0].What != "activated" {
		t.Errorf("events %+v", events)
	}
	if !doc.Since(one).Equal(at("12h")) {
		t.Errorf("while the swap is under way it is retired since %v", doc.Since(one))
	}

	doc, events = doc.settle(policy, nil, at("12h1s"))
	if one, _ := doc.Find(1); !one.Retired.Equal(at("12h1s")) || !one.RetainUntil.Equal(at("24h1s")) {
		t.Errorf("retained 12h after the swap, not after the decision: %+v", one)
	}
	if len(events) != 1 || events[0].What != "retired" {
		t.Errorf("events %+v", events)
	}

	doc, _ = doc.withdraw(1, at("24h1s"))
	if _, there := doc.Find(1); there || len(doc.Intents) != 1 || doc.Intents[0].Kind != Destroy || string(doc.Intents[0].Objects[0].ID) != "\x01" {
		t.Errorf("after withdraw: %+v", doc)
	}
	doc, events = doc.destroyed(1, doc.Intents[0].Objects, at("24h2s"))
	if len(doc.Intents) != 0 || events[0].What != "destroyed" || events[0].KIDs[0] != "kid-1" {
		t.Errorf("after destroyed: %+v, %+v", doc.Intents, events)
	}
}

func TestNumbersAreUsedUpByAttempts(t *testing.T) {
	doc := Document{Format: Format, Keyset: "default"}
	doc = doc.begin([]Attempt{{Token: "hsm"}}, t0)
	doc, _ = doc.abandoned(1, nil, t0)
	doc = doc.begin([]Attempt{{Token: "hsm"}}, t0)
	doc, _ = doc.made(2, []Key{{Spec: keyspec.P256}}, testPolicy(), t0)
	if doc.Last != 2 || len(doc.Generations) != 1 || doc.Generations[0].Number != 2 || len(doc.Intents) != 0 {
		t.Errorf("%+v", doc)
	}
}

func TestCertificateLifetime(t *testing.T) {
	p := testPolicy()
	if got, least := p.CertificateLifetime(), p.Lead+p.Period+p.Retain+p.MaxTokenLifetime; got <= least {
		t.Errorf("a certificate lives %v, its key may verify for %v", got, least)
	}
	p.Manual = true
	if got := p.CertificateLifetime(); got != handLifetime {
		t.Errorf("by hand: %v", got)
	}
}
