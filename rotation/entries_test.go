package rotation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An algorithm's own kid from its first day to its last.
func TestEntriesLife(t *testing.T) {
	policy, none := testPolicy(), testPolicy()
	policy.Algorithms = []jose.SignatureAlgorithm{jose.RS384}
	obs := Observation{Up: up("hsm"), Counted: map[string]bool{"hsm": true}}
	d := document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.Published = at("100h") }))
	d.Generations[0].Scheduled = at("100h")
	marks := map[int]time.Time{}
	// at now, Plan wants this, and then the entry is so
	step := func(now string, p Policy, want StepKind, is string) {
		t.Helper()
		steps, _ := Plan(d, p, obs, at(now))
		switch got := StepKind(""); {
		case len(steps) > 0:
			if got = steps[0].Kind; got != want {
				t.Fatalf("at %s: %v, want %q", now, steps, want)
			}
		case want != "":
			t.Fatalf("at %s nothing is due, want %s", now, want)
		}
		switch want {
		case StepEntries:
			d, _ = d.entries(p, at(now))
		case StepSettle:
			d, _ = d.settle(p, marks, at(now))
		}
		if got := fmt.Sprint(d.PublishedAlgorithms(), d.SigningAlgorithms(), len(d.Entries) > 0 && d.Entries[0].State == Retired); got != is {
			t.Fatalf("at %s: %s, want %s", now, got, is)
		}
	}
	step("1h", none, "", "[] [] false")
	step("1h", policy, StepEntries, "[RS384] [] false")
	step("1h", policy, StepSettle, "[RS384] [] false")
	if !d.Entries[0].UsableFrom.Equal(at("1h5m30s")) || !d.StaleUntil.Equal(at("1h5m30s")) {
		t.Errorf("known from %v; bodies stale from %v", d.Entries[0].UsableFrom, d.StaleUntil)
	}
	step("6h59m59.999999999s", policy, "", "[RS384] [] false")
	if got := (&Keyset{Policy: policy, Document: d}).ComingAlgorithms(); !got[jose.RS384].Equal(at("7h")) {
		t.Errorf("coming: %v", got)
	}
	d.FrozenUntil = at("8h")
	step("7h", policy, "", "[RS384] [] false")
	step("8h", policy, StepEntries, "[RS384] [RS384] false")
	if got := (&Keyset{Policy: policy, Document: d}).ComingAlgorithms(); len(got) != 0 {
		t.Errorf("still coming: %v", got)
	}
	step("8h", policy, "", "[RS384] [RS384] false")
	// Dropped: at once it signs no longer, and stays.
	step("10h", none, StepEntries, "[RS384] [] true")
	step("10h", none, StepSettle, "[RS384] [] true")
	if !d.Entries[0].RetainUntil.Equal(at("22h")) {
		t.Errorf("retained until %v", d.Entries[0].RetainUntil)
	}
	// Wanted again, it starts where verifiers know it.
	step("11h", policy, StepEntries, "[RS384] [RS384] false")
	// Dropped, while there is a watermark.
	marks[1] = at("50h")
	step("12h", none, StepEntries, "[RS384] [] true")
	step("12h", none, StepSettle, "[RS384] [] true")
	forever := none
	forever.RetainUntilRevoked = true
	d.FrozenUntil = at("51h")
	step("50h0m30s", none, "", "[RS384] [] true")
	step("51h", forever, StepSettle, "[RS384] [] true")
	step("51h", forever, "", "[RS384] [] true")
	step("51h", none, StepSettle, "[RS384] [] true")
	step("51h", none, StepEntries, "[] [] false")
}

func TestEntriesOfAFirstPage(t *testing.T) {
	policy := testPolicy()
	policy.Algorithms = []jose.SignatureAlgorithm{jose.RS384, jose.PS256}
	d := Document{Format: Format, Keyset: "default"}
	d, _ = d.settle(policy, nil, t0)
	d, events := d.entries(policy, t0)
	if len(events) != 2 || len(d.SigningAlgorithms()) != 0 {
		t.Errorf("%+v", events)
	}
	if d, _ = d.settle(policy, nil, t0); !d.Entries[0].Published.IsZero() {
		t.Errorf("published without a page: %+v", d.Entries)
	}
	d = d.begin(nil, t0)
	d, _ = d.made(1, []Key{rsaA}, policy, t0)
	if d, _ = d.settle(policy, nil, at("1s")); !slices.Equal(d.SigningAlgorithms(), policy.Algorithms) {
		t.Errorf("there is no page without them, and they do not sign: %+v", d.Entries)
	}
}

// How long a retired entry stays.
func TestEntryRetention(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy func(*Policy)
		life   time.Duration
		want   string
	}{
		{"for retain", func(*Policy) {}, time.Hour, "13h"},
		{"as long as a token with it may live", func(p *Policy) { p.MaxTokenLifetime = 48 * time.Hour }, time.Hour, "49h30s"},
		{"also where that was lowered since", func(p *Policy) { p.MaxTokenLifetime = time.Hour }, 20 * time.Hour, "21h30s"},
		{"by the clock of whoever was off most", func(p *Policy) { p.ClockSkew = time.Second }, 20 * time.Hour, "21h30s"},
	} {
		policy := testPolicy()
		tt.policy(&policy)
		d := document(gen(1, Active, func(g *Generation) { g.Lifetime = tt.life }))
		d.Entries = []Entry{{Algorithm: jose.RS384, State: Retired, Published: t0, UsableFrom: t0}}
		d, _ = d.settle(policy, nil, at("1h"))
		if got := d.Entries[0].RetainUntil; !got.Equal(at(tt.want)) {
			t.Errorf("%s: %v, want %s", tt.name, got.Sub(t0), tt.want)
		}
		// If clocks are said to be further off now, it stays for that much longer.
		policy.ClockSkew += time.Hour
		policy.Retain += 2 * time.Hour
		if d, _ = d.settle(policy, nil, at("2h")); !d.Entries[0].RetainUntil.Equal(at(tt.want).Add(time.Hour)) {
			t.Errorf("%s, and an hour of skew: %v", tt.name, d.Entries[0].RetainUntil.Sub(t0))
		}
	}
}

// One that is retired may be wanted again, so pages that are kept longer than was believed count for it too.
func TestRetiredEntryKeepsWhatVerifiersKnow(t *testing.T) {
	d := document(gen(1, Active))
	d.Entries = []Entry{{Algorithm: jose.RS384, State: Retired, Published: t0, UsableFrom: at("5m30s"), Retired: t0, RetainUntil: at("100h")}}
	policy := testPolicy()
	policy.VerifierCache = time.Hour
	if d, _ = d.settle(policy, nil, at("1m")); !d.Entries[0].UsableFrom.Equal(at("1h5m30s")) {
		t.Errorf("known from %v", d.Entries[0].UsableFrom)
	}
}

func TestEntriesTell(t *testing.T) {
	policy := testPolicy()
	policy.Algorithms = []jose.SignatureAlgorithm{jose.RS384}
	_, events := document(gen(1, Active)).entries(policy, t0)
	if len(events) != 1 || events[0].What != "entry" || !strings.HasPrefix(events[0].Why, "RS384 ") || events[0].By != "schedule" {
		t.Errorf("%+v", events)
	}
}
