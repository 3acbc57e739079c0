package rotation_test

import (
	"crypto"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// static is a policy with keys of these labels; "" for none.
func static(active, previous string) rotation.Policy {
	s := rotation.StaticKey{Type: "p-384", Active: &rotation.StaticRef{Label: active}}
	if previous != "" {
		s.Previous = &rotation.StaticRef{Label: previous}
	}
	return rotation.Policy{Static: []rotation.StaticKey{s}, Token: "hsm", Usage: hsm.Sign, Lead: 6 * time.Hour}.WithDefaults()
}

// staticHouse has the administrator's keys one, two and three on its token.
func staticHouse(t *testing.T) *house {
	h := newHouse(t)
	for _, label := range []string{"one", "two", "three"} {
		h.token.bring(label, keyspec.P384, nil)
	}
	h.policy = static("one", "")
	h.config.Keysets["default"] = h.policy
	return h
}

// labels of the keys on the page, or of those that sign.
func labels(keys []rotation.Key) (labels []string) {
	for _, k := range keys {
		labels = append(labels, k.Label)
	}
	return labels
}

func (h *house) signsAs(want ...string) func() bool {
	return func() bool { return slices.Equal(labels(h.keyset().Signing), want) }
}

func (h *house) onPage() (on []string) {
	for _, g := range h.keyset().Document.Generations {
		on = append(on, labels(g.Keys)...)
	}
	return on
}

func TestStaticSwaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := staticHouse(t)
		h.mustStart()
		defer func() { h.stop() }()
		h.want("1 active")
		if !h.signsAs("one")() || h.keyset().Problem != "" || !h.keyset().NextRotation().IsZero() || len(h.events("adopted")) != 1 {
			t.Errorf("signing %v, problem %q", labels(h.keyset().Signing), h.keyset().Problem)
		}
		after(40 * 24 * time.Hour) // no calendar
		h.want("1 active")
		h.refused(h.rotate(""), rotation.RefusedBadRequest, time.Time{})

		e := h.effect(h.both(static("two", "one")), "other static keys are named")
		if !e.At.Equal(time.Now().Add(6 * time.Hour)) {
			t.Errorf("%+v", e)
		}
		h.comesTrue(e.At, "signs with two", h.signsAs("two"))
		h.want("1 retired, 2 active")
		after(30 * 24 * time.Hour) // it is named as previous
		h.stop()
		h.mustStart()
		h.want("1 retired, 2 active")

		h.both(static("two", "")) // previous is dropped
		gone := time.Now().Add(12 * time.Hour)
		h.comesTrue(gone, "one left the page", func() bool { return slices.Equal(h.onPage(), []string{"two"}) })
		if len(h.token.ids()) != 3 {
			t.Error("a key of the administrator's was destroyed")
		}

		// Named as previous without ever having been active, it is published and never signs.
		h.both(static("two", "three"))
		if got := h.onPage(); !slices.Equal(got, []string{"two", "three"}) {
			t.Errorf("on the page: %v", got)
		}
		after(24 * time.Hour)
		h.want("2 active, 3 retired")
		if p := h.keyset().Problem; p != "" || !h.signsAs("two")() {
			t.Errorf("problem %q", p)
		}
		h.tally()
	})
}

func TestStaticAndDynamic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := staticHouse(t)
		dynamic := newHouse(t).policy
		h.policy = dynamic
		h.config.Keysets["default"] = dynamic
		h.mustStart()
		defer h.stop()
		after(13 * time.Hour)
		e := h.effect(h.both(static("one", "")), "it becomes static")
		h.comesTrue(e.At, "signs with one", h.signsAs("one"))
		after(20 * time.Hour)
		if got := h.onPage(); !slices.Equal(got, []string{"one"}) || len(h.token.ids()) != 3 {
			t.Errorf("on the page: %v, %d keys on the token", got, len(h.token.ids()))
		}
		e = h.effect(h.both(dynamic), "it becomes dynamic")
		h.comesTrue(e.At, "signs with a key of ours", h.signsWith(keyspec.P256))
		after(13 * time.Hour)
		if on := h.onPage(); len(on) != 3 || slices.Contains(on, "one") || h.keyset().Problem != "" {
			t.Errorf("on the page: %v, problem %q", on, h.keyset().Problem)
		}
		h.tally()
		if len(h.token.ids()) != 6 {
			t.Errorf("%d keys on the token", len(h.token.ids()))
		}
	})
}

// What is named and cannot be taken over is told, what signs goes on, and it is taken over once it can be.
func TestStaticTroubles(t *testing.T) {
	yes := true
	for name, c := range map[string]struct {
		spec    keyspec.Spec
		change  func(*hsm.Object)
		problem string
	}{
		"not there":          {"", nil, "the active p-384 key on token hsm: the key is not on the token"},
		"of another type":    {keyspec.P256, nil, "it is a key of type p-256: name it under that type"},
		"not private enough": {keyspec.P384, func(o *hsm.Object) { o.Attributes.Extractable = &yes }, hsm.ErrTemplate.Error()},
		"for another use":    {keyspec.P384, func(o *hsm.Object) { o.Attributes = attributes(hsm.Decrypt) }, "use a key that was made to sign"},
		"without its public": {keyspec.P384, func(o *hsm.Object) { o.PublicKey = nil }, "public half"},
		"one of ours":        {keyspec.P384, func(o *hsm.Object) { o.Label = "keysetd/other/default/1/p-384" }, "was made by a keysetd"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := staticHouse(t)
				h.mustStart()
				defer h.stop()
				label := "late"
				if c.spec != "" {
					label = h.token.bring("late", c.spec, c.change).Label
				}
				h.reloaded(static(label, "one"))
				after(time.Hour)
				p := h.keyset().Problem
				if !strings.Contains(p, c.problem) || !strings.Contains(p, "taking over the static keys") || !h.signsAs("one")() || h.state() != "1 active" {
					t.Errorf("problem %q, %s", p, h.state())
				}
				h.token.set(func(f *fakeToken) {
					if f.fresh < 50 {
						t.Errorf("it was looked for %d times in an hour", f.fresh)
					}
				})
				h.token.bring(label, keyspec.P384, nil)
				if label != "late" { // it bears our name and stays away
					return
				}
				after(time.Minute)
				h.want("1 active, 2 pending")
				if p := h.keyset().Problem; p != "" {
					t.Errorf("problem %q", p)
				}
				after(6 * time.Hour)
				if !h.signsAs("late")() {
					t.Errorf("signing %v", labels(h.keyset().Signing))
				}
			})
		})
	}
}

// A key that was revoked may not come back, whatever it is called; and without one to follow nothing signs.
func TestStaticRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := staticHouse(t)
		h.mustStart()
		defer h.stop()
		h.revoke(h.revocation(h.active()))
		after(time.Hour)
		p := h.keyset().Problem
		if !strings.Contains(p, "it was revoked at 2000-01-01T00:00:00Z (a test) and may not come back: name another one") ||
			!strings.Contains(p, "name another active key in the configuration and reload") || len(h.keyset().Signing) != 0 {
			t.Errorf("problem %q", p)
		}
		if len(h.token.ids()) != 3 {
			t.Error("a key of the administrator's was destroyed")
		}
		again := static("one", "")
		again.Static[0].Active = &rotation.StaticRef{ID: []byte("id of one"), KID: "another-kid"}
		h.reloaded(again)
		after(time.Hour)
		if p := h.keyset().Problem; !strings.Contains(p, "it was revoked") || h.state() != "" {
			t.Errorf("problem %q, %s", p, h.state())
		}
		h.reloaded(static("two", "one"))
		h.comesTrue(h.pending().UsableFrom, "signs with two", h.signsAs("two"))
		if p := h.keyset().Problem; p != "" {
			t.Errorf("problem %q", p)
		}
		h.tally()
	})
}

// Two keysets cannot have one kid, whoever comes first, and also if both come at once.
func TestStaticKIDsCollide(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			h := staticHouse(t)
			other := static("two", "")
			other.Static[0].Active.KID = "wanted-RS384" // which is another kid of the first one
			p := static("one", "")
			p.Static[0].Active.KID = "wanted"
			h.config.Keysets = map[string]rotation.Policy{"default": p, "other": other}
			h.mustStart()
			defer h.stop()
			after(time.Minute)
			s := h.manager.Snapshot().Keysets
			refused := s["default"].Problem + s["other"].Problem
			if len(s["default"].Signing)+len(s["other"].Signing) != 1 || !strings.Contains(refused, "stand") || !strings.Contains(refused, "give one of them another kid") {
				t.Fatalf("%v and %v sign; problem %q", labels(s["default"].Signing), labels(s["other"].Signing), refused)
			}
			free := &p
			if len(s["other"].Signing) == 0 {
				free = &other
			}
			free.Static = []rotation.StaticKey{{Type: "p-384", Active: &rotation.StaticRef{Label: free.Static[0].Active.Label, KID: "free"}}}
			h.reloaded2(map[string]rotation.Policy{"default": p, "other": other})
			after(time.Minute)
			s = h.manager.Snapshot().Keysets
			if len(s["default"].Signing)+len(s["other"].Signing) != 2 {
				t.Errorf("problems %q and %q", s["default"].Problem, s["other"].Problem)
			}
		})
	}
}

// A key of ours whose kid somebody has already is not taken, and does not stay.
func TestKIDsCollideAcrossKeysets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := staticHouse(t)
		h.config.KeyID = func(crypto.PublicKey) (string, error) { return "always", nil }
		h.mustStart()
		defer h.stop()
		h.reloaded2(map[string]rotation.Policy{"default": h.policy, "other": newHouse(t).policy})
		after(time.Minute)
		k := h.manager.Snapshot().Keysets["other"]
		if len(k.Document.Generations) != 0 || !strings.Contains(k.Problem, `kid "always" stands for a key of generation 1 of keyset default already`) {
			t.Errorf("%+v, problem %q", k.Document, k.Problem)
		}
		h.tally()
	})
}
