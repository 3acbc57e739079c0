package rotation

import (
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

func TestPublished(t *testing.T) {
	enc := func(g *Generation) { g.Keys[0].Usage = hsm.Derive }
	policy := testPolicy()
	policy.Usage, policy.Lead, policy.MaxMessageAge = hsm.Decrypt, 0, time.Hour
	for _, tt := range []struct {
		name  string
		k     Keyset
		want  int
		until time.Time
	}{
		{"signing: all", Keyset{Configured: true, Policy: testPolicy(), Document: document(gen(1, Retired), gen(2, Active), gen(3, Pending))}, 3, time.Time{}},
		{"decrypting: the active one, until the next", Keyset{Configured: true, Policy: policy, Document: document(gen(1, Retired, enc), gen(2, Active, enc), gen(3, Pending, enc))}, 1, at("12h")},
		{"decrypting, and frozen", Keyset{Configured: true, Policy: policy, Document: frozen("20h", gen(2, Active, enc), gen(3, Pending, enc))}, 1, at("20h")},
		{"decrypting, not configured any more", Keyset{Document: document(gen(1, Retired, enc), gen(2, Active, enc), gen(3, Pending, enc))}, 1, time.Time{}},
		{"decrypting, and nothing is active", Keyset{Configured: true, Policy: policy, Document: document(gen(3, Pending, enc))}, 0, time.Time{}},
	} {
		if got := tt.k.Published(); len(got) != tt.want || tt.want == 1 && got[0].Number != 2 {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if got := tt.k.FreshUntil(); !got.Equal(tt.until) {
			t.Errorf("%s: fresh until %v", tt.name, got)
		}
	}
}

func TestComing(t *testing.T) {
	policy := testPolicy()
	policy.Specs = []keyspec.Spec{keyspec.P256, keyspec.RSA2048}
	k := &Keyset{Configured: true, Policy: policy, Document: document(gen(1, Active)), Signing: gen(1, Active).Keys}
	if got := k.Coming(); len(got) != 1 || !got[keyspec.RSA2048].IsZero() {
		t.Errorf("not made yet: %v", got)
	}
	k.Document = document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.Keys = []Key{ecX, rsaA} }))
	if got := k.Coming(); len(got) != 1 || !got[keyspec.RSA2048].Equal(at("6h")) {
		t.Errorf("pending: %v", got)
	}
	k.Document = frozen("20h", k.Document.Generations...)
	if got := k.Coming(); !got[keyspec.RSA2048].Equal(at("20h")) {
		t.Errorf("frozen: %v", got)
	}
	k.Document.Removed = t0
	if got := k.Coming(); len(got) != 0 {
		t.Errorf("removed: %v", got)
	}
}

func TestMaxAge(t *testing.T) {
	k := &Keyset{Configured: true, Policy: testPolicy(), Document: document(gen(1, Active))}
	for _, tt := range []struct{ policy, served, want time.Duration }{
		{5 * time.Minute, 5 * time.Minute, 5 * time.Minute}, {time.Minute, 5 * time.Minute, time.Minute}, {time.Hour, 5 * time.Minute, 5 * time.Minute},
	} {
		k.Policy.MaxAge, k.Document.Served.MaxAge = tt.policy, tt.served
		if got := k.MaxAge(); got != tt.want {
			t.Errorf("policy %v, put down %v: %v", tt.policy, tt.served, got)
		}
	}
	k.Configured, k.Policy.MaxAge = false, time.Minute // it was removed, and goes by its farewell
	if k.MaxAge() != time.Minute {
		t.Errorf("removed: %v", k.MaxAge())
	}
	k.Policy = Policy{}
	if k.MaxAge() != 5*time.Minute {
		t.Errorf("not configured: %v", k.MaxAge())
	}
}
