package config

import (
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
