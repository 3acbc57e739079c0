package rotation_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// revocation of the first key of g.
func (h *house) revocation(g rotation.Generation) rotation.RevokeAct {
	a := rotation.RevokeAct{Act: act}
	a.KID = g.Keys[0].KID
	return a
}

// revoke must be done at once: it waits for nothing.
func (h *house) revoke(a rotation.RevokeAct) rotation.Revoked {
	h.t.Helper()
	begin := time.Now()
	r, err := h.manager.Revoke(h.t.Context(), "default", a)
	if err != nil || !time.Now().Equal(begin) {
		h.t.Errorf("revoking: %v, it took %v", err, time.Since(begin))
	}
	for _, k := range r.Keys {
		if slices.Contains(published(h.keyset()), k.KID) || slices.Contains(signers(h.keyset()), k.KID) {
			h.t.Errorf("key %s is still there: %s", k.KID, h.state())
		}
	}
	return r
}

func kids(r rotation.Revoked) (kids []string) {
	for _, k := range r.Keys {
		kids = append(kids, k.KID)
	}
	return kids
}

func TestRevokeTheActiveKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		after(7 * time.Hour)
		old, next := h.active(), h.pending()
		var shown []string
		h.swapped = func(s *rotation.Snapshot) {
			shown = append(shown, fmt.Sprintf("%v %v", published(s.Keysets["default"]), signers(s.Keysets["default"])))
		}
		r := h.revoke(h.revocation(old))
		kid := next.Keys[0].KID
		// One swap takes the one off the page and lets the other sign.
		h.mu.Lock()
		if want := fmt.Sprintf("[%s] [%s]", kid, kid); shown[0] != want {
			t.Errorf("shown %v, want %s first", shown, want)
		}
		h.swapped = nil
		h.mu.Unlock()
		if !slices.Equal(kids(r), []string{old.Keys[0].KID}) || !r.AcceptedUntil.Equal(time.Now().Add(5*time.Minute+30*time.Second)) || !r.RefusedUntil.IsZero() {
			t.Errorf("%+v", r)
		}
		if k := r.Keys[0]; k.By != act.By || k.Why != act.Why || !k.At.Equal(time.Now()) || k.Generation != 1 || k.Kept || !reflect.DeepEqual(k.ID, old.Keys[0].ID) {
			t.Errorf("%+v", k)
		}
		synctest.Wait()
		h.want("2 active, 3 pending")
		h.tally() // it is gone from the token
		if h.by("revoked") != 1 || h.by("activated") != 1 || h.keyset().Problem != "" {
			t.Errorf("%d revocations, %d activations in the history, problem %q", h.by("revoked"), h.by("activated"), h.keyset().Problem)
		}

		// Once more, also by the kid that another algorithm has: the same answer, and nothing happens.
		after(time.Hour)
		for _, kid := range []string{old.Keys[0].KID, old.Keys[0].KID + "-RS384"} {
			a := h.revocation(old)
			a.KID = kid
			if again := h.revoke(a); !reflect.DeepEqual(again, r) {
				t.Errorf("again: %+v\nwas: %+v", again, r)
			}
		}
		h.stop()
		h.mustStart()
		if again := h.revoke(h.revocation(old)); !reflect.DeepEqual(again.Keys, r.Keys) {
			t.Errorf("after a restart: %+v", again)
		}
		a := h.revocation(old)
		a.KID = "unknown"
		_, err := h.manager.Revoke(t.Context(), "default", a)
		h.refused(err, rotation.RefusedUnknownKID, time.Time{})
		if h.by("revoked") != 1 {
			t.Errorf("%d revocations in the history", h.by("revoked"))
		}
		h.want("2 active, 3 pending")
	})
}

// With a pending key that verifiers may not know, nothing signs until they do.
func TestRevokeWithNothingToFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer func() { h.stop() }()
		r := h.revoke(h.revocation(h.active()))
		usable := h.pending().UsableFrom
		if !r.RefusedUntil.IsZero() || len(signers(h.keyset())) > 0 || usable.IsZero() {
			t.Errorf("%+v, signing %v, usable from %v", r, signers(h.keyset()), usable)
		}
		after(time.Second)
		h.stop()
		h.mustStart()
		h.want("2 pending")
		h.tally()
		if p := h.keyset().Problem; !strings.Contains(p, "no key is in use") || !strings.Contains(p, "generation 2 takes over at "+usable.Format(time.RFC3339)) {
			t.Errorf("problem %q", p)
		}
		if err := h.rotate(""); err == nil {
			t.Error("rotated")
		}
		after(time.Until(usable) - 1)
		h.want("2 pending")
		after(1)
		h.want("2 active, 3 pending")
		if p := h.keyset().Problem; p != "" {
			t.Errorf("problem %q", p)
		}
	})
}

// The operator may accept that verifiers do not know what signs, in the same call or in a later one.
func TestRevokeAcceptingUnpublished(t *testing.T) {
	for _, later := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.mustStart()
			defer h.stop()
			a, usable := h.revocation(h.active()), h.pending().UsableFrom
			if later > 0 {
				h.revoke(a)
				after(later)
				h.want("2 pending")
			}
			h.accepts(true)
			a.AcceptUnpublished = true
			r := h.revoke(a)
			if len(r.Keys) != 1 || !r.RefusedUntil.Equal(usable) || len(signers(h.keyset())) != 1 {
				t.Errorf("%+v, want refused until %v; signing %v", r, usable, signers(h.keyset()))
			}
			h.accepts(false)
			synctest.Wait()
			h.want("2 active, 3 pending")
			h.tally()
			if d := h.keyset().Document; d.AcceptUnpublished {
				t.Error("it is accepted for ever")
			}
			if h.by("activated") != 1 {
				t.Errorf("%+v", h.events("activated"))
			}
			// It counts once: the next one waits again.
			h.revoke(h.revocation(h.active()))
			synctest.Wait()
			h.want("3 pending")
		})
	}
}

func TestRevokeAll(t *testing.T) {
	for _, accept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.policy.Specs = []keyspec.Spec{keyspec.P256, keyspec.Ed25519}
			h.config.Keysets["default"] = h.policy
			h.mustStart()
			defer h.stop()
			after(13 * time.Hour)
			h.want("1 retired, 2 active, 3 pending")
			h.token.set(func(f *fakeToken) { f.takes = time.Second })
			h.accepts(accept)
			r := h.revoke(rotation.RevokeAct{Act: act, All: true, AcceptUnpublished: accept})
			if len(r.Keys) != 6 || h.state() != "" || len(published(h.keyset())) > 0 {
				t.Errorf("%+v, %s", r, h.state())
			}
			synctest.Wait()
			if p := h.keyset().Problem; !strings.Contains(p, "no key is in use; the next generation is being made") {
				t.Errorf("problem %q", p)
			}
			after(2 * time.Second)
			if accept {
				h.want("4 active")
			} else {
				h.want("4 pending")
				after(time.Until(h.pending().UsableFrom) - 1)
				h.want("4 pending")
				after(1)
			}
			after(time.Minute)
			h.want("4 active, 5 pending")
			h.tally()
			if again := h.revoke(rotation.RevokeAct{Act: act, All: true, KeepObject: true}); len(again.Keys) != 10 {
				t.Errorf("%d keys are revoked", len(again.Keys))
			}
			after(time.Minute)
			h.tally()
		})
	}
}

// One key of two, pending, active and retired; by a kid of an algorithm's own, and in a freeze.
func TestRevokeOneOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Specs = []keyspec.Spec{keyspec.P256, keyspec.Ed25519}
		h.config.Keysets["default"] = h.policy
		h.mustStart()
		defer h.stop()
		after(19 * time.Hour)
		h.want("1 retired, 2 active, 3 pending")
		if err := h.manager.Freeze(t.Context(), "default", act, time.Now().Add(24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		one, _ := h.keyset().Document.Find(1)
		a := h.revocation(one)
		a.KID += "-RS384"
		if r := h.revoke(a); len(r.Keys) != 1 || r.Keys[0].KID != one.Keys[0].KID {
			t.Errorf("%+v", r)
		}
		synctest.Wait()
		h.want("1 retired, 2 active, 3 pending")
		h.tally()
		if got := len(published(h.keyset())); got != 5 {
			t.Errorf("%d keys are published", got)
		}
		h.revoke(h.revocation(h.pending())) // it can never be whole again, and another one is made
		synctest.Wait()
		h.want("1 retired, 2 active, 3 retired, 4 pending")
		if got := h.signing(); got != "2 p-256, 2 ed25519" {
			t.Errorf("signing %s", got)
		}
		h.tally()
		h.revoke(h.revocation(h.active())) // what is left of it signs until the next one may
		synctest.Wait()
		h.want("1 retired, 2 active, 3 retired, 4 pending")
		if got, p := h.signing(), h.keyset().Problem; got != "2 ed25519" || !strings.Contains(p, "of the active generation was revoked; generation 4 takes over at") {
			t.Errorf("signing %s, problem %q", got, p)
		}
		after(time.Until(h.pending().UsableFrom))
		h.want("1 retired, 2 retired, 3 retired, 4 active, 5 pending")
		if got := h.signing(); got != "4 p-256, 4 ed25519" || h.keyset().Problem != "" {
			t.Errorf("signing %s, problem %q", got, h.keyset().Problem)
		}
		h.tally()
	})
}
