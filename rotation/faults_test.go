package rotation_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// life runs from an empty store through four rotations, and the destruction of three
// generations. Whatever fate does in it, afterwards all is as it should be.
func life(t *testing.T, prepare func(*house)) (effects int) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Period, h.policy.Lead, h.policy.Retain = time.Hour, 30*time.Minute, time.Hour
		h.policy.MaxTokenLifetime = 30 * time.Minute
		h.config.Keysets["default"] = h.policy
		prepare(h)
		end := time.Now().Add(4 * time.Hour)
		for time.Now().Before(end) { // once more after a crash
			crashed := make(chan struct{})
			if h.fate.crash != nil {
				h.fate.crash = func() { close(crashed) }
			}
			if err := h.start(); err == nil {
				select {
				case <-crashed:
				case <-time.After(time.Until(end)):
					synctest.Wait()
				}
				h.stop()
			}
			time.Sleep(time.Millisecond) // a crash and a start are not at one instant
			h.fate.dead, h.fate.crash = false, nil
		}
		effects = h.fate.count
		if err := h.start(); err != nil {
			t.Fatal(err)
		}
		after(25 * time.Minute)
		h.tally()
		if a := h.keyset().Document.Abandoned; len(a) > 0 {
			t.Errorf("still on record: %+v", a)
		}
		active, _ := h.keyset().Document.Active()
		pending, _ := h.keyset().Document.Pending()
		if n := len(h.keyset().Document.Generations); n != 3 || active.Number < 4 || pending.Number <= active.Number || h.keyset().Problem != "" {
			t.Errorf("afterwards %s, problem %q", h.state(), h.keyset().Problem)
		}
		if since := time.Since(active.Activated); since > 85*time.Minute {
			t.Errorf("generation %d is active since %v ago", active.Number, since)
		}
		h.stop()
	})
	return effects
}

// Every effect on store, token and page fails once, or is the daemon's last: before it
// and after it. Each swap of the page is checked by house.publish meanwhile.
func TestManagerSurvivesEveryFault(t *testing.T) {
	effects := life(t, func(*house) {})
	if effects < 50 {
		t.Fatalf("a life has only %d effects", effects)
	}
	for _, mode := range []struct {
		name           string
		persist, crash bool
		late           time.Duration
	}{
		{"error before", false, false, 0},
		{"error after", true, false, 0},
		{"crash before", false, true, 0},
		{"crash after", true, true, 0},
		{"error, late", false, false, 5 * time.Second},
		{"crash, late", false, true, 5 * time.Second},
	} {
		for at := 1; at <= effects; at++ {
			t.Run(fmt.Sprintf("%s effect %d", mode.name, at), func(t *testing.T) {
				life(t, func(h *house) {
					h.fate.at, h.fate.persist, h.fate.late = at, mode.persist, mode.late
					if mode.crash {
						h.fate.crash = func() {}
					}
				})
			})
		}
	}
}
