package rotation_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/rotation"
)

func (h *house) rotate(kid string) error {
	a := act
	a.KID = kid
	err := h.manager.Rotate(h.t.Context(), "default", a)
	synctest.Wait()
	return err
}

// refused checks that err is a refusal of this kind, and until then.
func (h *house) refused(err error, kind rotation.RefusalKind, at time.Time) {
	h.t.Helper()
	r, ok := errors.AsType[*rotation.Refusal](err)
	if !ok || r.Kind != kind || !r.At.Equal(at) || !strings.Contains(r.Detail, "default") {
		h.t.Errorf("%v (%+v); want %s at %v", err, r, kind, at)
	}
}

func (h *house) active() rotation.Generation {
	g, _ := h.keyset().Document.Active()
	return g
}

func (h *house) pending() rotation.Generation {
	g, _ := h.keyset().Document.Pending()
	return g
}

// by counts the events that the operator of the tests is named in, with his reason.
func (h *house) by(what string) (n int) {
	for _, e := range h.events(what) {
		if e.By == act.By && strings.Contains(e.Why, act.Why) && !e.At.IsZero() {
			n++
		}
	}
	return n
}

func TestRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		first, usable := h.active().Keys[0].KID, h.pending().Published.Add(6*time.Hour)
		h.refused(h.rotate(first), rotation.RefusedNotYet, usable)
		after(6*time.Hour - 1)
		err := h.rotate(first)
		h.refused(err, rotation.RefusedNotYet, usable)
		if !strings.Contains(err.Error(), "generation 2 of keyset default was published at 2000-01-01T00:00:00Z and may sign from 2000-01-01T06:00:00Z") {
			t.Error(err)
		}
		after(1)
		h.refused(h.rotate("unknown"), rotation.RefusedUnknownKID, time.Time{})
		if err := h.rotate(first); err != nil {
			t.Fatal(err)
		}
		h.want("1 retired, 2 active, 3 pending")
		if e := h.events("activated"); h.by("activated") != 1 || e[len(e)-1].Generation != 2 || !e[len(e)-1].At.Equal(time.Now()) {
			t.Errorf("%+v", e)
		}
		if at := h.keyset().NextRotation(); !at.Equal(time.Now().Add(12 * time.Hour)) {
			t.Errorf("the calendar goes on at %v", at)
		}
		// Asked for once more, it was done: also when it could be done again, and after a restart.
		after(7 * time.Hour)
		for _, kid := range []string{first, first + "-RS384"} { // also by another kid of it
			if err := h.rotate(kid); err != nil {
				t.Error(err)
			}
		}
		h.stop()
		h.mustStart()
		if err := h.rotate(first); err != nil {
			t.Error(err)
		}
		h.want("1 retired, 2 active, 3 pending")
		if err := h.rotate(""); err != nil { // whatever signs now
			t.Error(err)
		}
		h.want("1 retired, 2 retired, 3 active, 4 pending")
		if _, err := h.manager.Plan("nobody"); err == nil {
			t.Error("a plan for nobody")
		}
		err = h.manager.Rotate(t.Context(), "nobody", act)
		if r, ok := errors.AsType[*rotation.Refusal](err); !ok || r.Kind != rotation.RefusedUnknownKeyset {
			t.Error(err)
		}
		h.tally()
	})
}

// The sixth rotation in a row is refused until exactly the time it names, also across a restart.
func TestRotateIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Lead, h.policy.MaxAge, h.policy.ClockSkew = time.Minute, 20*time.Second, 5*time.Second
		h.config.Keysets["default"] = h.policy
		h.mustStart()
		defer func() { h.stop() }()
		after(time.Minute)
		next := time.Now().Add(24 * time.Hour / 5)
		for range 5 {
			if err := h.rotate(""); err != nil {
				t.Fatal(err)
			}
			after(time.Minute)
		}
		h.refused(h.rotate(""), rotation.RefusedRateLimited, next)
		h.stop()
		after(time.Hour)
		h.mustStart()
		h.refused(h.rotate(""), rotation.RefusedRateLimited, next)
		after(time.Until(next) - 1)
		h.refused(h.rotate(""), rotation.RefusedRateLimited, next)
		after(1)
		if err := h.rotate(""); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		h.refused(h.rotate(""), rotation.RefusedRateLimited, next.Add(24*time.Hour/5))
		if n := h.by("activated"); n != 6 {
			t.Errorf("%d rotations in the history", n)
		}
		h.tally()
	})
}

// A rotation that cannot be done changes nothing.
func TestRotateInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		after(7 * time.Hour)
		h.token.set(func(f *fakeToken) { f.down = true })
		h.wake()
		if err := h.rotate(""); !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), "activating generation 2: its key") {
			t.Errorf("with the token down: %v", err)
		}
		h.token.set(func(f *fakeToken) { f.down = false })
		h.wake()

		h.setClock(time.Minute)
		if err := h.rotate(""); err == nil || !strings.Contains(err.Error(), "the clock was set by 1m while keysetd ran") {
			t.Errorf("with the clock set: %v", err)
		} else {
			h.refused(err, rotation.RefusedNotYet, time.Time{})
		}
		h.setClock(-time.Minute)

		h.fate.at = h.fate.count + 2 // after the probe
		if err := h.rotate(""); !errors.Is(err, errFate) {
			t.Errorf("with a store that fails: %v", err)
		}
		h.want("1 active, 2 pending")
		if n := len(h.events("activated")); n != 1 {
			t.Errorf("%d activations", n)
		}
		if err := h.rotate(""); err != nil {
			t.Error(err)
		}
		h.want("1 retired, 2 active, 3 pending")
	})
}

// While the token shows that the next key signs, an operator revokes it.
func TestRotateLetsARevocationPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		after(7 * time.Hour)
		h.token.set(func(f *fakeToken) { f.slow = time.Minute })
		result := make(chan error, 1)
		go func() { result <- h.manager.Rotate(t.Context(), "default", act) }()
		after(time.Second)
		before := time.Now()
		if _, err := h.manager.Revoke(t.Context(), "default", h.revocation(h.pending())); err != nil || !time.Now().Equal(before) {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		after(10 * time.Minute)
		h.refused(<-result, rotation.RefusedNotYet, h.pending().Published.Add(6*time.Hour))
		h.want("1 active, 3 pending")
		h.tally()
	})
}

func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer func() { h.stop() }()
		freeze := func(until time.Time) error {
			err := h.manager.Freeze(t.Context(), "default", act, until)
			synctest.Wait()
			return err
		}
		limit := time.Now().Add(7 * 24 * time.Hour)
		h.refused(freeze(limit.Add(1)), rotation.RefusedBadRequest, time.Time{})
		h.refused(freeze(time.Now()), rotation.RefusedBadRequest, time.Time{})
		after(12*time.Hour + time.Second)
		h.want("1 retired, 2 active, 3 pending")
		until := time.Now().Add(40 * time.Hour)
		for range 2 { // the second time it is frozen already
			if err := freeze(until); err != nil {
				t.Fatal(err)
			}
		}
		after(20 * time.Hour)
		h.stop()
		h.mustStart()
		h.refused(h.rotate(""), rotation.RefusedFrozen, until)
		after(time.Until(until) - 1)
		h.want("1 retired, 2 active, 3 pending") // nothing was activated, and nothing left the page
		if p := h.keyset().Problem; p != "" || !h.keyset().Next.Equal(until) || !h.keyset().NextRotation().Equal(until) {
			t.Errorf("problem %q, next %v", p, h.keyset().Next)
		}
		after(1)
		h.want("2 retired, 3 active, 4 pending")
		h.tally()

		until = time.Now().Add(7 * 24 * time.Hour) // exactly max_freeze
		if err := freeze(until); err != nil {
			t.Fatal(err)
		}
		after(30 * time.Hour)
		h.want("2 retired, 3 active, 4 pending")
		for range 2 {
			if err := h.manager.Thaw(t.Context(), "default", act); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		h.want("3 retired, 4 active, 5 pending")
		h.tally()
		if f, t2 := h.by("frozen"), h.by("thawed"); f != 2 || t2 != 1 {
			t.Errorf("frozen %d times, thawed %d times", f, t2)
		}
		if e := h.events("frozen"); e[0].Why != "until "+e[0].At.Add(40*time.Hour).Format(time.RFC3339)+": "+act.Why {
			t.Errorf("%+v", e[0])
		}
	})
}

// An act of which nobody knows whether it is on disk is looked up at once, and shown.
func TestActsWithAStoreThatErrs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		until := time.Now().Add(time.Hour)
		h.fate.at, h.fate.persist = h.fate.count+1, true
		if err := h.manager.Freeze(t.Context(), "default", act, until); !errors.Is(err, errFate) {
			t.Error(err)
		}
		synctest.Wait()
		if d := h.keyset().Document; !d.FrozenUntil.Equal(until) {
			t.Errorf("%+v", d)
		}
		// The page fails: whoever asks again hears of it again.
		h.breaks(errors.New("no page today"))
		for range 2 {
			if err := h.manager.Thaw(t.Context(), "default", act); err == nil || !strings.Contains(err.Error(), "thawing keyset default: it is put down and will be shown as soon as that works: publishing the page: no page today") {
				t.Error(err)
			}
		}
		h.breaks(nil)
		if err := h.manager.Thaw(t.Context(), "default", act); err != nil || !h.keyset().Document.FrozenUntil.IsZero() {
			t.Errorf("%v, %+v", err, h.keyset().Document)
		}
	})
}
