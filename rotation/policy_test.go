package rotation

import (
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

func TestPolicyDefaults(t *testing.T) {
	static := []StaticKey{{Type: RSA, Active: &StaticRef{Label: "a"}}}
	for _, tt := range []struct {
		name string
		set  Policy
		want Policy
	}{
		{"nothing said",
			Policy{},
			Policy{Period: 12 * time.Hour, Lead: 12 * time.Hour, Retain: 12 * time.Hour, ClockSkew: 30 * time.Second, MaxAge: 5 * time.Minute, MaxTokenLifetime: 12*time.Hour - 30*time.Second}},
		{"a short period",
			Policy{Period: 8 * time.Second, MaxAge: 2 * time.Second},
			Policy{Period: 8 * time.Second, Lead: 8 * time.Second, Retain: 8 * time.Second, ClockSkew: 800 * time.Millisecond, MaxAge: 2 * time.Second, MaxTokenLifetime: 7200 * time.Millisecond}},
		{"by hand, until revoked",
			Policy{Manual: true, RetainUntilRevoked: true},
			Policy{Manual: true, RetainUntilRevoked: true, Lead: 12 * time.Hour, ClockSkew: 30 * time.Second, MaxAge: 5 * time.Minute, MaxTokenLifetime: 12 * time.Hour}},
		{"max-age follows from lead and verifiers' caches",
			Policy{Period: time.Hour, Lead: 10 * time.Minute, VerifierCache: 5 * time.Minute},
			Policy{Period: time.Hour, Lead: 10 * time.Minute, Retain: time.Hour, ClockSkew: 30 * time.Second, VerifierCache: 5 * time.Minute, MaxAge: 135 * time.Second, MaxTokenLifetime: 59*time.Minute + 30*time.Second}},
		{"a token lives no longer than its key stays",
			Policy{Period: 2 * time.Hour, Retain: time.Hour},
			Policy{Period: 2 * time.Hour, Lead: 2 * time.Hour, Retain: time.Hour, ClockSkew: 30 * time.Second, MaxAge: 5 * time.Minute, MaxTokenLifetime: 59*time.Minute + 30*time.Second}},
		{"static",
			Policy{Static: static},
			Policy{Lead: 12 * time.Hour, Retain: 12 * time.Hour, ClockSkew: 30 * time.Second, MaxAge: 5 * time.Minute, MaxTokenLifetime: 12*time.Hour - 30*time.Second}},
		{"decrypting: what is published is active, so there is no lead",
			Policy{Period: time.Hour, Usage: hsm.Decrypt, MaxMessageAge: 30 * time.Minute},
			Policy{Period: time.Hour, Retain: time.Hour, ClockSkew: 30 * time.Second, MaxAge: 5 * time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.set.Static == nil {
				tt.set.Specs = []keyspec.Spec{keyspec.P256}
			}
			got := tt.set.WithDefaults()
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
			if got.freshness() != tt.want.freshness() || got.Period != tt.want.Period || got.Lead != tt.want.Lead ||
				got.Retain != tt.want.Retain || got.MaxTokenLifetime != tt.want.MaxTokenLifetime {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if got.MaxFreeze != 7*24*time.Hour || got.ManualPerDay != 5 || got.ManualBurst != 5 {
				t.Errorf("limits: %+v", got)
			}
		})
	}
}

func TestPolicyValidate(t *testing.T) {
	enc := func(p *Policy) { p.Usage, p.Lead, p.MaxTokenLifetime, p.MaxMessageAge = hsm.Decrypt, 0, 0, time.Hour }
	for want, change := range map[string]func(*Policy){
		"":                                   func(*Policy) {},
		"period -1s is negative":             func(p *Policy) { p.Period = -time.Second },
		"max_freeze -1s is negative":         func(p *Policy) { p.MaxFreeze = -time.Second },
		"keys is empty":                      func(p *Policy) { p.Specs = nil },
		"static names no active key":         func(p *Policy) { p.Static = []StaticKey{{Type: RSA, Previous: &StaticRef{Label: "a"}}} },
		"lead 13h is longer than period 12h": func(p *Policy) { p.Lead = 13 * time.Hour },
		"lead 1m is not longer than clock_skew 2m plus verifier_cache 0s": func(p *Policy) {
			p.Lead, p.ClockSkew, p.MaxAge = time.Minute, 2*time.Minute, -30*time.Second
		},
		"max_age 1ms is shorter than 1s":                                                   func(p *Policy) { p.MaxAge = time.Millisecond },
		"limited to 0 a day with a burst of 5":                                             func(p *Policy) { p.ManualPerDay = 0 },
		"lead 5m30s is not longer than max_age 5m plus clock_skew 30s":                     func(p *Policy) { p.Lead = 5*time.Minute + 30*time.Second },
		"lead 6h is not longer than max_age 5m plus clock_skew 30s plus verifier_cache 6h": func(p *Policy) { p.VerifierCache = 6 * time.Hour },
		"retain 30s is not longer than clock_skew 30s":                                     func(p *Policy) { p.Retain = 30 * time.Second },
		"max_message_age is missing":                                                       func(p *Policy) { enc(p); p.MaxMessageAge = 0 },
		"retain 1h5m29s is shorter than max_age 5m plus clock_skew 30s plus verifier_cache 0s plus max_message_age 1h": func(p *Policy) {
			enc(p)
			p.Retain = time.Hour + 5*time.Minute + 29*time.Second
		},
	} {
		p := testPolicy()
		change(&p)
		if err := p.Validate(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	// By hand there is no period that lead could be longer than; and a key that stays until it is revoked needs no time.
	p := testPolicy()
	p.Manual, p.Period, p.RetainUntilRevoked, p.Retain = true, 0, true, 0
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	// What was not said is not complained of.
	p = Policy{Specs: p.Specs, Retain: 10 * time.Second, ClockSkew: 30 * time.Second}.WithDefaults()
	if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), "retain 10s") {
		t.Error(err)
	}
}

func TestGuaranteed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Policy)
		want   time.Duration
	}{
		{"as long as a token may live", func(*Policy) {}, time.Hour},
		{"as long as its key stays", func(p *Policy) { p.MaxTokenLifetime = 48 * time.Hour }, 12*time.Hour - 30*time.Second},
		{"until it is revoked", func(p *Policy) { p.MaxTokenLifetime, p.RetainUntilRevoked = 48*time.Hour, true }, 48 * time.Hour},
		{"a message", func(p *Policy) { p.Usage, p.MaxMessageAge = hsm.Decrypt, time.Minute }, time.Minute},
	} {
		p := testPolicy()
		tt.change(&p)
		if got := p.guaranteed(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		p := testPolicy().Spread(name)
		if p.Jitter < 0 || p.Jitter >= time.Hour || p.Jitter != testPolicy().Spread(name).Jitter {
			t.Errorf("%s: %v", name, p.Jitter)
		}
		seen[p.Jitter] = true
		short := testPolicy()
		if short.Period = 8 * time.Second; short.Spread(name).Jitter >= 800*time.Millisecond {
			t.Errorf("%s: more than a tenth of the period", name)
		}
		short.Manual = true
		if short.Spread(name).Jitter != 0 {
			t.Errorf("%s: by hand", name)
		}
	}
	if len(seen) < 7 {
		t.Errorf("eight keysets have %d jitters", len(seen))
	}
}
