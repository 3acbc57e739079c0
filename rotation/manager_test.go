package rotation_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

func TestManagerBringsUpAndKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		h.want("1 active, 2 pending")
		h.tally()
		before := h.keyset().Document
		if k := h.keyset(); k.Problem != "" || !k.Next.Equal(before.Generations[0].Activated.Add(12*time.Hour)) || !k.NextRotation().Equal(k.Next) {
			t.Errorf("problem %q, next %v, next rotation %v", k.Problem, k.Next, k.NextRotation())
		}
		label, err := rotation.ParseLabel(before.Generations[1].Keys[0].Label)
		if want := (rotation.Label{Installation: "installation", Keyset: "default", Generation: 2, Spec: keyspec.P256}); err != nil || label != want {
			t.Errorf("label %+v, %v", label, err)
		}
		h.stop()
		after(time.Hour)
		h.mustStart()
		defer h.stop()
		if !reflect.DeepEqual(h.keyset().Document, before) {
			t.Errorf("after a restart: %+v\nwas: %+v", h.keyset().Document, before)
		}
		h.token.set(func(f *fakeToken) {
			if f.made != 2 {
				t.Errorf("%d keys were made, not 2", f.made)
			}
		})
		after(11*time.Hour - time.Nanosecond)
		h.want("1 active, 2 pending")
		after(time.Nanosecond)
		h.want("1 retired, 2 active, 3 pending")
	})
}

func TestManagerRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		for n := 1; n <= 3; n++ {
			after(12 * time.Hour)
			if n == 1 {
				h.want("1 retired, 2 active, 3 pending")
			} else {
				// Retained for 12 h, the one before goes at the instant the next retires.
				h.want(fmt.Sprintf("%d retired, %d active, %d pending", n, n+1, n+2))
			}
			h.tally()
		}
		events, err := h.store.History(t.Context(), "default", 100)
		if err != nil {
			t.Fatal(err)
		}
		var life []string
		for _, e := range events {
			if e.Generation == 2 {
				life = append(life, e.What)
			}
		}
		if got := strings.Join(life, " "); got != "made published activated retired withdrawn destroyed" {
			t.Errorf("generation 2: %s", got)
		}
	})
}

// A key takes 20 s to make; still each rotation comes at its hour, as lead is shorter than period.
func TestManagerDoesNotDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		first := h.keyset().Document.Generations[0].Activated
		h.token.set(func(f *fakeToken) { f.takes = 20 * time.Second })
		for n := 1; n <= 200; n++ {
			after(12 * time.Hour)
			active, _ := h.keyset().Document.Active()
			if want := first.Add(time.Duration(n) * 12 * time.Hour); active.Number != n+1 || !active.Activated.Equal(want) {
				t.Fatalf("generation %d is active since %v; want %d since %v", active.Number, active.Activated, n+1, want)
			}
			after(0)
		}
		after(time.Minute)
		h.want("200 retired, 201 active, 202 pending")
		h.tally()
	})
}

func TestManagerAfterAMonthAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		after(13 * time.Hour)
		h.want("1 retired, 2 active, 3 pending")
		h.stop()
		after(30 * 24 * time.Hour)
		h.mustStart()
		defer h.stop()
		h.want("2 retired, 3 active, 4 pending")
		after(12*time.Hour - 1)
		h.want("2 retired, 3 active, 4 pending")
		after(1)
		h.want("3 retired, 4 active, 5 pending")
		h.tally()
	})
}

// A pending key that vanished from the token does not take signing from one that works.
func TestManagerCertifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Specs = []keyspec.Spec{keyspec.P384, keyspec.Ed25519}
		h.config.Keysets["default"] = h.policy
		broken := errors.New("no certificate today")
		h.config.Publish = func(*rotation.Snapshot) error { return nil }
		h.breaks(broken)
		var requests []rotation.CertRequest
		h.config.Certify = func(_ context.Context, r rotation.CertRequest) ([][]byte, error) {
			if err := h.isBroken(); len(requests) == 1 && err != nil {
				return nil, err
			}
			requests = append(requests, r)
			hash := crypto.Hash(0)
			if r.Spec != keyspec.Ed25519 {
				hash = crypto.SHA384
			}
			if _, err := r.Signer.Sign(nil, make([]byte, 48), hash); err != nil {
				t.Errorf("signing: %v", err)
			}
			return [][]byte{[]byte(r.KID)}, nil
		}
		h.mustStart()
		defer h.stop()
		h.want("")
		h.tally() // the first key, certified, was removed with the second
		if got := h.keyset().Problem; !strings.Contains(got, broken.Error()) {
			t.Errorf("problem %q", got)
		}
		h.breaks(nil)
		after(time.Second)
		h.want("2 active, 3 pending")
		h.tally()
		for _, r := range requests[1:] {
			g, _ := h.keyset().Document.Find(r.Generation)
			if r.Keyset != "default" || !r.NotBefore.Equal(g.Made.Add(-h.policy.ClockSkew)) || !r.NotAfter.Equal(g.Made.Add(h.policy.CertificateLifetime())) {
				t.Errorf("%+v", r)
			}
		}
		for _, g := range h.keyset().Document.Generations {
			for i, k := range g.Keys {
				if k.Spec != h.policy.Specs[i] || string(k.Chain[0]) != k.KID {
					t.Errorf("generation %d key %d: %+v", g.Number, i, k)
				}
			}
		}
	})
}

func TestManagerManyKeysets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		const n = 300
		for i := range n {
			h.config.Keysets[fmt.Sprintf("keyset-%d", i)] = h.policy
		}
		h.token.takes = 10 * time.Millisecond
		h.mustStart()
		defer h.stop()
		after(time.Minute)
		for name, k := range h.manager.Snapshot().Keysets {
			if _, ok := k.Document.Pending(); !ok || k.Problem != "" {
				t.Fatalf("%s: %+v, problem %q", name, k.Document, k.Problem)
			}
		}
		h.token.set(func(f *fakeToken) {
			if f.overlap {
				t.Error("two keys were made at once")
			}
		})
		h.tally()
	})
}

func TestNewManagerRefuses(t *testing.T) {
	for name, change := range map[string]func(*rotation.ManagerConfig){
		"no store":          func(c *rotation.ManagerConfig) { c.Store = nil },
		"a name with slash": func(c *rotation.ManagerConfig) { c.Keysets["a/b"] = c.Keysets["default"] },
		"token":             func(c *rotation.ManagerConfig) { c.Tokens = nil },
		"relation": func(c *rotation.ManagerConfig) {
			p := c.Keysets["default"]
			p.Lead = p.MaxAge
			c.Keysets["default"] = p
		},
	} {
		h := newHouse(t)
		change(&h.config)
		if m, err := rotation.NewManager(h.config); err == nil {
			t.Errorf("%s: %v", name, m)
		}
	}
}
