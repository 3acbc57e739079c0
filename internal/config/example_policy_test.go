package config

import (
	"testing"

	"keysetd.example/signing/policy"
)

// What the example grants is a policy, its expression and all.
func TestExampleIsAPolicy(t *testing.T) {
	rules := mustParse(t, Example()).Rules()
	if _, err := policy.New(rules, policy.Options{OverflowUID: 65534}); err != nil || len(rules) == 0 {
		t.Errorf("%d rules: %v", len(rules), err)
	}
}
