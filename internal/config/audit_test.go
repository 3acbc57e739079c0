package config

import (
	"strings"
	"testing"
	"time"
)

// The policy of the keys that sign checkpoints holds together, whatever the period.
func TestAuditPolicy(t *testing.T) {
	for _, period := range []time.Duration{time.Minute, 3 * time.Minute, time.Hour, 90 * 24 * time.Hour} {
		a := Audit{Token: "default"}
		a.setDefaults()
		a.Period = period
		p := a.Policy()
		if err := p.Validate(); err != nil {
			t.Errorf("period %v: %v", period, err)
		}
		if p.Period != period || p.Token != "default" || len(p.Specs) != 1 || p.Specs[0] != "p-256" || p.Encrypts() {
			t.Errorf("period %v: %+v", period, p)
		}
	}
}

// A grant for all keysets is for those to come, too: what none of today's is for is no mistake in it.
func TestGrantForAllKeysets(t *testing.T) {
	for keysets, fails := range map[string]bool{`["*"]`: false, "[default]": true} {
		text := strings.Replace(good, "keysets: [default]", "keysets: "+keysets, 1)
		text = strings.Replace(text, "[jwt]", "[jwt, sign, decrypt]", 1)
		if _, err := Parse("k.yaml", []byte(text), Options{}); (err != nil) != fails {
			t.Errorf("keysets %s: %v", keysets, err)
		}
	}
}
