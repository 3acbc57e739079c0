package hsm_test

import (
	"crypto"
	"errors"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
)

// A way to sign that makes the module fail each time cannot keep the token down, one that worked
// before is not held up.
func TestSuspects(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault memory.Fault
	}{
		{"general error", memory.Fault{Code: ckrGeneralError}},
		{"crash", memory.Fault{Drop: true}},
		{"hang", memory.Fault{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, _ *wire.Object) {
				c.fault.Op, c.fault.Times = wire.OpSign, 1<<20
				if c.name == "hang" {
					c.fault.Hang = make(chan struct{})
				}
				poison := func() error { // asks for a while, with a deadline shorter than the limit
					m.Clear()
					m.Inject(c.fault)
					var err error
					for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(time.Second) {
						_, err = key.Sign(within(t, 5*time.Second), random(crypto.SHA512), crypto.SHA512)
					}
					m.Clear()
					return err
				}
				if err := poison(); !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrUnsupported) {
					t.Errorf("error %v", err)
				}
				// Three, then after 1, 2, 4, 8, 16, 32 seconds, then each minute.
				if n := m.Started(); n < 10 || n > 25 {
					t.Errorf("%d workers in ten minutes", n)
				}
				if key.Unsupported(crypto.SHA512) {
					t.Error("it is not offered any more, though it is held up for a while only")
				}
				time.Sleep(2 * time.Minute)
				if err := key.Probe(within(t, 5*time.Second), crypto.SHA512); err != nil || key.Unsupported(crypto.SHA512) {
					t.Errorf("it works now: %v", err)
				}
				before := m.Started()
				poison()
				if m.Started() < before+10 {
					t.Errorf("what worked before was held up: %d workers", m.Started()-before)
				}
				if err := key.Probe(within(t, 5*time.Second), crypto.SHA512); err != nil {
					t.Errorf("as soon as the token is back: %v", err)
				}
			})
		})
	}
}
