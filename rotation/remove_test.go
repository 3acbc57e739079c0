package rotation_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// A keyset that is removed signs no longer, stays published as long as its tokens may live, and then goes.
func TestReloadRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.config.Keysets["other"] = h.policy
		h.mustStart()
		defer func() { h.stop() }()
		after(13 * time.Hour)
		rest := map[string]rotation.Policy{"other": h.policy}
		effects, err := h.reload(rest, "default")
		if err != nil || !strings.Contains(h.effect(effects, "").What, "is removed: it signs no longer") {
			t.Fatalf("%+v, %v", effects, err)
		}
		if len(signers(h.keyset())) > 0 {
			t.Error("it signs")
		}
		synctest.Wait()
		end := time.Now().Add(12 * time.Hour) // retain
		h.want("1 retired, 2 retired, 3 retired")
		if k := h.keyset(); k.Configured || k.Problem != "" || h.by("keyset removed") != 1 {
			t.Errorf("problem %q, %d events", k.Problem, h.by("keyset removed"))
		}
		if err := h.rotate(""); err == nil || !strings.Contains(err.Error(), "is not in the configuration") {
			t.Error(err)
		}
		if err := h.outlive(time.Now().Add(time.Hour)); !errors.Is(err, rotation.ErrNotLive) {
			t.Error(err)
		}
		after(time.Hour)
		h.stop()
		h.mustStart()
		if effects, err := h.reload(rest, "default"); err != nil || len(effects) != 0 { // again
			t.Errorf("%+v, %v", effects, err)
		}
		plan, err := h.manager.Plan("default")
		if err != nil || len(plan) != 6 || !plan[5].At.Equal(end) {
			t.Errorf("%+v, %v; want the end at %v", plan, err, end)
		}
		after(time.Until(end) - 1)
		if got := h.state(); !strings.HasSuffix(got, "2 retired, 3 retired") {
			t.Error(got)
		}
		after(1)
		if h.keyset() != nil {
			t.Errorf("it is still there: %s", h.state())
		}
		h.tally()
		if err := h.rotate(""); err == nil {
			t.Error("rotated")
		} else {
			h.refused(err, rotation.RefusedUnknownKeyset, time.Time{})
		}

		// It comes back under its name: no number is used twice, and its first key waits for the
		// pages of before.
		h.stop()
		h.mustStart()
		after(time.Minute)
		h.reloaded2(map[string]rotation.Policy{"default": h.policy, "other": h.policy})
		h.want("4 pending")
		after(5*time.Minute + 30*time.Second)
		h.want("4 active, 5 pending")
		if h.keyset().Problem != "" || len(h.events("keyset back")) != 1 {
			t.Errorf("problem %q", h.keyset().Problem)
		}
		h.tally()

		// Gone and back in a moment: its keys are retired, and the next one is new to verifiers.
		h.reloaded2(rest, "default")
		after(time.Second)
		h.reloaded2(map[string]rotation.Policy{"default": h.policy, "other": h.policy})
		h.want("4 retired, 5 retired, 6 pending")
		usable := time.Now().Add(5*time.Minute + 30*time.Second)
		h.comesTrue(usable, "signs", func() bool { return h.active().Number == 6 })
		h.tally()
	})
}

func (h *house) reloaded2(keysets map[string]rotation.Policy, remove ...string) {
	h.t.Helper()
	if _, err := h.reload(keysets, remove...); err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
}

// A keyset that vanished while the daemon was down can be removed too.
func TestReloadRemovesWhatVanished(t *testing.T) {
	for _, usage := range []hsm.Usage{hsm.Sign, hsm.Decrypt} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			if usage == hsm.Decrypt {
				h.policy = rotation.Policy{Specs: []keyspec.Spec{keyspec.P256}, Token: "hsm", Usage: usage, Period: 12 * time.Hour, MaxMessageAge: time.Hour}.WithDefaults()
				h.config.Keysets["default"] = h.policy
			}
			h.mustStart()
			after(13 * time.Hour)
			shown := published(h.keyset())
			h.stop()
			h.config.Keysets = map[string]rotation.Policy{}
			h.mustStart()
			defer h.stop()
			if got := published(h.keyset()); !slices.Equal(got, shown) {
				t.Errorf("published %v, was %v", got, shown)
			}
			h.reloaded2(map[string]rotation.Policy{}) // still not
			h.want("1 retired, 2 active, 3 pending")
			h.reloaded2(map[string]rotation.Policy{}, "default")
			if got := published(h.keyset()); usage == hsm.Decrypt && len(got) > 0 {
				t.Errorf("people are asked to encrypt to %v", got)
			}
			after(24 * time.Hour)
			if h.keyset() != nil {
				t.Errorf("it is still there: %s", h.state())
			}
			h.tally()
		})
	}
}
