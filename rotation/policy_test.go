package rotation

import (
	"strings"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
)

func TestPolicyDefaults(t *testing.T) {
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
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.set.Specs = []keyspec.Spec{keyspec.P256}
			got := tt.set.WithDefaults()
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
			got.Specs = nil
			if got.freshness() != tt.want.freshness() || got.Period != tt.want.Period || got.Lead != tt.want.Lead ||
				got.Retain != tt.want.Retain || got.MaxTokenLifetime != tt.want.MaxTokenLifetime {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestPolicyValidate(t *testing.T) {
	for want, change := range map[string]func(*Policy){
		"period -1s is negative":          func(p *Policy) { p.Period = -time.Second },
		"keys is empty":                   func(p *Policy) { p.Specs = nil },
		"lead 13h is longer than period":  func(p *Policy) { p.Lead = 13 * time.Hour },
		"max_age 1ms is shorter than 1s":  func(p *Policy) { p.MaxAge = time.Millisecond },
		"lead 5m30s is not longer than":   func(p *Policy) { p.Lead = 5*time.Minute + 30*time.Second },
		"plus verifier_cache 6h":          func(p *Policy) { p.VerifierCache = 6 * time.Hour },
		"retain 1h is shorter than max_t": func(p *Policy) { p.Retain = time.Hour },
	} {
		p := testPolicy()
		change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
