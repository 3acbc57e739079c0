package rotation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// The token is asked afterwards: while it is down, or at work, nothing waits for it.
func TestRevokeWaitsForNoToken(t *testing.T) {
	for name, hinder := range map[string]func(*fakeToken){
		"down":   func(f *fakeToken) { f.down = true },
		"hangs":  func(f *fakeToken) { f.takes = 10 * time.Minute },
		"errors": func(f *fakeToken) { f.fail = func(string) error { return errFate } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.mustStart()
				defer h.stop()
				h.token.set(hinder)
				if name == "hangs" {
					h.revoke(h.revocation(h.pending())) // another one is being made from now on
				} else {
					h.wake()
				}
				after(time.Minute)
				old := h.active().Keys[0]
				h.revoke(h.revocation(h.active()))
				if h.token.ids(); !slices.Contains(h.token.ids(), string(old.ID)) {
					t.Error("it was destroyed before its intent was on disk")
				}
				after(15 * time.Minute)
				h.token.set(func(f *fakeToken) { f.down, f.takes, f.fail = false, 0, nil })
				h.wake()
				after(12 * time.Hour)
				h.tally()
				if slices.Contains(h.token.ids(), string(old.ID)) || h.keyset().Problem != "" || h.active().Number == 0 {
					t.Errorf("%s, problem %q", h.state(), h.keyset().Problem)
				}
			})
		})
	}
}

// The key is destroyed once no request holds it any more, and no sooner.
func TestRevokeDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		drained := make(chan error)
		drains := 0
		h.config.Drain = func(context.Context) error {
			if drains++; len(signers(h.keyset())) > 0 {
				t.Error("it still signs")
			}
			return <-drained
		}
		h.mustStart()
		defer h.stop()
		old := h.active().Keys[0]
		h.revoke(h.revocation(h.active()))
		after(time.Minute)
		if drains != 1 || !slices.Contains(h.token.ids(), string(old.ID)) {
			t.Errorf("drained %d times, and the token has %x", drains, h.token.ids())
		}
		drained <- errors.New("somebody holds on")
		synctest.Wait()
		if p := h.keyset().Problem; !strings.Contains(p, "somebody holds on") || !slices.Contains(h.token.ids(), string(old.ID)) {
			t.Errorf("problem %q", p)
		}
		after(time.Minute)
		drained <- nil
		synctest.Wait()
		if slices.Contains(h.token.ids(), string(old.ID)) {
			t.Error("it is there still")
		}
		h.tally()
	})
}

func TestRevokeKeepsTheObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		a := h.revocation(h.active())
		a.KeepObject = true
		if r := h.revoke(a); !r.Keys[0].Kept {
			t.Errorf("%+v", r)
		}
		after(24 * time.Hour)
		h.tally()
		if n := len(h.events("destroyed")); n != 0 || len(h.keyset().Document.Revoked) != 1 || h.keyset().Problem != "" {
			t.Errorf("%d destroyed, problem %q", n, h.keyset().Problem)
		}
	})
}

// Nothing is revoked that is not on disk; and what is on disk is revoked, whatever the store said.
func TestRevokeWithAStoreThatErrs(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.mustStart()
			defer h.stop()
			a := h.revocation(h.active())
			down := true
			h.store.Inject(func(rotation.Document) store.Fault {
				if down {
					return store.Fault{Err: errFate, Persisted: persisted}
				}
				return store.Fault{}
			})
			_, err := h.manager.Revoke(t.Context(), "default", a)
			if !errors.Is(err, errFate) || !strings.Contains(err.Error(), "revoking a key of keyset default: writing to the store") {
				t.Errorf("%v", err)
			}
			synctest.Wait() // and no time passes
			if persisted {
				h.want("2 pending")
			} else {
				h.want("1 active, 2 pending")
			}
			down = false
			if r := h.revoke(a); len(r.Keys) != 1 {
				t.Errorf("%+v", r)
			}
			after(time.Minute)
			h.want("2 pending")
			h.tally()
			if h.by("revoked") != 1 {
				t.Errorf("%d revocations in the history", h.by("revoked"))
			}
		})
	}
}

// While the page cannot be swapped, whoever revokes is told so each time, and it is tried again.
func TestRevokeWithAPageThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		a := h.revocation(h.active())
		h.breaks(errors.New("no page today"))
		for range 3 {
			if _, err := h.manager.Revoke(t.Context(), "default", a); err == nil || !strings.Contains(err.Error(), "it is put down and will be shown as soon as that works: publishing the page: no page today") {
				t.Errorf("%v", err)
			}
			after(time.Minute)
		}
		h.want("1 active, 2 pending")
		if len(h.token.ids()) != 2 {
			t.Error("it was destroyed, and signs")
		}
		h.breaks(nil)
		after(time.Minute)
		if slices.Contains(published(h.keyset()), a.KID) {
			h.want("2 pending")
		}
		h.tally()
		if h.by("revoked") != 1 {
			t.Errorf("%d revocations in the history", h.by("revoked"))
		}
	})
}

func TestRevocationsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.config.Keysets["other"] = h.policy
		var kept map[string][]rotation.Revocation
		h.config.KeepRevocations = func(all map[string][]rotation.Revocation) error {
			kept = all
			return nil
		}
		h.mustStart()
		defer h.stop()
		if kept == nil || len(kept) != 0 {
			t.Errorf("at the start: %+v", kept)
		}
		a := h.revocation(h.active())
		h.revoke(a)
		if len(kept) != 1 || len(kept["default"]) != 1 || kept["default"][0].KID != a.KID {
			t.Errorf("%+v", kept)
		}
	})
}

func TestRevocationsAreKeptAtLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var fails error
		tries, kept := 0, 0
		h.config.KeepRevocations = func(all map[string][]rotation.Revocation) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			tries, kept = tries+1, len(all["default"])
			return fails
		}
		h.mustStart()
		defer h.stop()
		now := func(err error) (int, int) { // returns what there was, and what it is to return from now on
			h.mu.Lock()
			defer h.mu.Unlock()
			fails = err
			return tries, kept
		}
		now(errFate)
		h.revoke(h.revocation(h.active())) // it is in force all the same
		if n, _ := now(errFate); n != 2 || !strings.Contains(h.log.String(), "cannot be written beside the store") {
			t.Errorf("%d tries, log\n%s", n, h.log.String())
		}
		after(time.Hour)
		before, _ := now(nil)
		if before < 50 {
			t.Errorf("%d tries in an hour", before)
		}
		after(time.Hour)
		if n, kept := now(nil); n != before+1 || kept != 1 {
			t.Errorf("%d more tries, %d are kept", n-before, kept)
		}
	})
}
