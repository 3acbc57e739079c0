package rotation_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// longLived is a house with tokens that live longer than retain guarantees. writes counts what it costs.
func longLived(t *testing.T) (h *house, writes *[]time.Time) {
	h = newHouse(t)
	h.policy.MaxTokenLifetime = 24 * time.Hour
	h.config.Keysets["default"] = h.policy
	writes = new([]time.Time)
	h.store.InjectRaise(func(string, int, time.Time) store.Fault {
		*writes = append(*writes, time.Now())
		return store.Fault{Err: h.isBroken()}
	})
	return h, writes
}

// However many tokens are signed, it costs one write a minute.
func TestWatermarksAreWrittenAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, writes := longLived(t)
		h.mustStart()
		defer h.stop()
		if got := h.keyset().Guaranteed(); got != 12*time.Hour-30*time.Second {
			t.Errorf("without a watermark a token may live %v", got)
		}
		for i := range 6000 {
			if err := h.outlive(time.Now().Add(time.Duration(13+i%12) * time.Hour)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(*writes); n != 10 {
			t.Errorf("%d writes in 10 minutes", n)
		}
		for i, w := range (*writes)[1:] {
			if d := w.Sub((*writes)[i]); d <= time.Minute {
				t.Errorf("written again after %v", d)
			}
		}
		after(time.Hour)
		*writes = nil
		var callers sync.WaitGroup
		for range 50 { // at once
			callers.Go(func() {
				if err := h.manager.Outlive(t.Context(), "default", 1, time.Now().Add(24*time.Hour)); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if len(*writes) != 1 {
			t.Errorf("%d writes at once", len(*writes))
		}
	})
}

// What a watermark says stays published until then, and no longer; also across a restart.
func TestWatermarksKeepAGeneration(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, _ := longLived(t)
			h.mustStart()
			defer func() { h.stop() }()
			after(12*time.Hour - time.Second)
			if err := h.outlive(time.Now().Add(24 * time.Hour)); err != nil {
				t.Fatal(err)
			}
			marks, err := h.store.Watermarks(t.Context(), "default")
			if err != nil || !marks[1].Equal(time.Now().Add(24*time.Hour+time.Minute)) {
				t.Fatalf("%v, %v", marks, err)
			}
			after(time.Second)
			h.want("1 retired, 2 active, 3 pending")
			for _, exp := range []time.Duration{time.Minute, 25 * time.Hour} {
				if err := h.manager.Outlive(t.Context(), "default", 1, time.Now().Add(exp)); !errors.Is(err, rotation.ErrNotLive) {
					t.Errorf("generation 1 signs no longer: %v", err)
				}
			}
			for _, name := range []string{"default", "nobody"} {
				if err := h.manager.Outlive(t.Context(), name, 77, time.Now()); !errors.Is(err, rotation.ErrNotLive) {
					t.Error(err)
				}
			}
			if restart {
				h.stop()
				h.mustStart()
			}
			after(time.Until(marks[1].Add(30*time.Second)) - 1)
			h.want("1 retired, 3 retired, 4 active, 5 pending")
			after(1)
			h.want("3 retired, 4 active, 5 pending")
			h.tally()
			if marks, err := h.store.Watermarks(t.Context(), "default"); err != nil || len(marks) != 0 {
				t.Errorf("still: %v, %v", marks, err)
			}
		})
	}
}

// No token without its watermark.
func TestWatermarksThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, writes := longLived(t)
		h.mustStart()
		defer h.stop()
		h.breaks(errFate)
		for range 3 {
			if err := h.outlive(time.Now().Add(20 * time.Hour)); !errors.Is(err, errFate) {
				t.Errorf("%v", err)
			}
		}
		h.breaks(nil)
		if err := h.outlive(time.Now().Add(20 * time.Hour)); err != nil || len(*writes) != 4 {
			t.Errorf("%v, %d writes", err, len(*writes))
		}
		// A key that is revoked needs none, and gets none.
		h.accepts(true)
		a := h.revocation(h.active())
		a.AcceptUnpublished = true
		h.revoke(a)
		if err := h.manager.Outlive(t.Context(), "default", 1, time.Now().Add(24*time.Hour)); !errors.Is(err, rotation.ErrNotLive) {
			t.Error(err)
		}
		if got := published(h.keyset()); slices.Contains(got, a.KID) {
			t.Errorf("published %v", got)
		}
	})
}
