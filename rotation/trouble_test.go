package rotation_test

import (
	"crypto"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/rotation"
)

func TestManagerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		after(time.Hour)
		h.token.set(func(f *fakeToken) { f.down = true })
		h.manager.Wake()
		after(30 * 24 * time.Hour)
		h.want("1 active, 2 pending")
		if got := h.keyset().Problem; !strings.Contains(got, "token hsm is down") {
			t.Errorf("problem %q", got)
		}
		if n := strings.Count(h.log.String(), "has a problem"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, h.log.String())
		}
		h.token.set(func(f *fakeToken) { f.down = false })
		h.manager.Wake()
		synctest.Wait()
		h.want("1 retired, 2 active, 3 pending")
		if got := h.keyset().Problem; got != "" {
			t.Errorf("problem %q", got)
		}
	})
}

func TestManagerRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var tries []time.Time // guarded by the token
		broken := errors.New("CKR_GENERAL_ERROR")
		h.token.fail = func(operation string) error {
			if operation != "generate" {
				return nil
			}
			tries = append(tries, time.Now())
			return broken
		}
		h.mustStart()
		defer h.stop()
		after(10 * time.Minute)
		h.want("")
		if got := h.keyset().Problem; !strings.Contains(got, "making the next generation") || !strings.Contains(got, broken.Error()) {
			t.Errorf("problem %q", got)
		}
		if n := strings.Count(h.log.String(), "has a problem"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, h.log.String())
		}
		var seen []time.Time
		h.token.set(func(*fakeToken) { seen = slices.Clone(tries) })
		for i, wait := 1, time.Second; i < len(seen); i, wait = i+1, min(2*wait, time.Minute) {
			if d := seen[i].Sub(seen[i-1]); d <= wait/2 || d > wait {
				t.Errorf("try %d came %v after the one before, want up to %v", i+1, d, wait)
			}
		}
		if len(seen) < 12 {
			t.Errorf("%d tries in 10 minutes", len(seen))
		}
		h.manager.Wake()
		synctest.Wait()
		h.token.set(func(*fakeToken) {
			if len(tries) != len(seen)+1 {
				t.Errorf("Wake led to %d tries", len(tries)-len(seen))
			}
		})
		h.token.set(func(f *fakeToken) { f.fail = nil })
		after(time.Minute)
		if p := h.keyset().Problem; p != "" || len(h.keyset().Document.Generations) != 2 {
			t.Errorf("%s, problem %q", h.state(), p)
		}
		if !strings.Contains(h.log.String(), "is well again") {
			t.Errorf("log:\n%s", h.log.String())
		}
		h.tally()
	})
}

func TestManagerActivatesOnlyWhatSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		pending, _ := h.keyset().Document.Pending()
		h.token.set(func(f *fakeToken) { delete(f.keys, string(pending.Keys[0].ID)) })
		after(13 * time.Hour)
		h.want("1 active, 2 pending")
		if got := h.keyset().Problem; !strings.Contains(got, "activating generation 2") {
			t.Errorf("problem %q", got)
		}
	})
}

func TestManagerPublishFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		noPage := errors.New("no page today")
		h.breaks(noPage)
		if err := h.start(); !errors.Is(err, noPage) {
			t.Fatalf("Start: %v", err)
		}
		h.breaks(nil)
		h.mustStart()
		defer h.stop()
		h.breaks(noPage)
		after(13 * time.Hour)
		h.want("1 active, 2 pending") // what readers see is what the page shows
		h.breaks(nil)
		after(time.Minute)
		h.want("1 retired, 2 active, 3 pending")
		one, _ := h.keyset().Document.Find(1)
		if d := time.Since(one.Retired); d > time.Minute {
			t.Errorf("generation 1 counts as retired since %v ago, and signed until the page could be swapped", d)
		}
		if n := strings.Count(h.log.String(), "no page today"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, h.log.String())
		}
	})
}

func TestManagerClockBehindTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		// What the daemon wrote while its clock was a day ahead.
		doc := rotation.Document{Format: rotation.Format, Keyset: "default", Last: 1, Generations: []rotation.Generation{{
			Number: 1, State: rotation.Pending, Made: time.Now().Add(24 * time.Hour), Keys: []rotation.Key{{Token: "hsm", KID: "k"}},
		}}}
		if _, err := h.store.Save(t.Context(), doc, 0); err != nil {
			t.Fatal(err)
		}
		h.mustStart()
		defer h.stop()
		after(time.Hour)
		h.want("1 pending")
		if got := h.keyset().Problem; !strings.Contains(got, "the clock is behind") {
			t.Errorf("problem %q", got)
		}
		after(23 * time.Hour)
		if g := h.keyset().Document.Generations[0]; g.Published.IsZero() {
			t.Errorf("the clock agrees, but %+v; problem %q", g, h.keyset().Problem)
		}
	})
}

func TestManagerServesWhatIsNotConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		h.stop()
		before := h.keyset()
		h.config.Keysets = map[string]rotation.Policy{"other": h.policy}
		h.mustStart()
		defer h.stop()
		after(48 * time.Hour)
		h.want("1 active, 2 pending")
		k := h.keyset()
		if k.Configured || !strings.Contains(k.Problem, "not in the configuration") || k.MaxAge() != before.MaxAge() || !k.NextRotation().IsZero() {
			t.Errorf("%+v", k)
		}
		if got := len(h.manager.Snapshot().Keysets["other"].Document.Generations); got != 3 {
			t.Errorf("the other keyset has %d generations", got)
		}
	})
}

func TestManagerRefusesAKIDTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.config.KeyID = func(crypto.PublicKey) (string, error) { return "always", nil }
		h.mustStart()
		defer h.stop()
		h.want("1 active")
		if got := h.keyset().Problem; !strings.Contains(got, "kid \"always\" stands for a key of generation 1") {
			t.Errorf("problem %q", got)
		}
	})
}
