package rotation_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// until runs the daemon until then, and starts it again after a crash.
func (h *house) until(end time.Time) {
	h.t.Helper()
	for {
		if h.stop == nil {
			h.crashed = make(chan struct{})
			if err := h.start(); err != nil {
				h.stop = nil
				h.revive()
				continue
			}
		}
		synctest.Wait()
		select {
		case <-h.crashed:
			h.stop()
			h.stop = nil
			h.revive()
			continue
		default:
		}
		if !time.Now().Before(end) {
			return
		}
		select {
		case <-h.crashed:
		case <-time.After(time.Until(end)):
		}
	}
}

// revive lets a moment pass: a crash and a start are not at one instant.
func (h *house) revive() {
	time.Sleep(time.Millisecond)
	h.fate.mu.Lock()
	defer h.fate.mu.Unlock()
	h.fate.dead, h.fate.crash = false, nil
}

// run plays a scenario in which fate is prepared, and checks the end of it.
func (s scenario) run(t *testing.T, prepare func(*fate)) (f *fate) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.token.cheap = pool(40)
		h.began, h.named = time.Now(), map[[2]string]string{}
		if s.prepare != nil {
			s.prepare(h)
		}
		life := h.policy.MaxTokenLifetime
		if h.policy = hourly(h.policy); s.name == "watermarks" {
			h.policy.MaxTokenLifetime = life
		}
		h.config.Keysets["default"] = h.policy
		f = h.fate
		if prepare(f); f.at > 0 {
			h.plain()
		}
		if f.crash != nil {
			f.crash = func() { close(h.crashed) }
		}
		for i, d := range s.deeds {
			h.deed = fmt.Sprint(i)
			h.until(h.began.Add(d.at))
			for tries := 0; d.do(h) != nil; tries++ {
				if tries > 500 {
					t.Fatalf("deed %d cannot be done: %v, %s", i, d.do(h), h.state())
				}
				h.until(time.Now().Add(10 * time.Second))
			}
		}
		h.until(h.began.Add(s.length))
		s.check(h)
		for range 4 { // what comes late is forgotten when it was looked for a few times, and in other epochs
			h.stop()
			h.stop = nil
			h.until(time.Now().Add(13 * time.Minute))
			if k := h.keyset(); k == nil || len(k.Document.Abandoned) == 0 {
				break
			}
		}
		if k := h.keyset(); k != nil && len(k.Document.Abandoned) > 0 {
			t.Errorf("still on record: %+v", k.Document.Abandoned)
		}
		s.check(h)
		h.stop()
	})
	return f
}

func (s scenario) check(h *house) {
	h.t.Helper()
	h.tally()
	k := h.keyset()
	if k == nil || s.generations < 0 {
		if k != nil && len(k.Document.Abandoned) == 0 || s.generations >= 0 {
			h.t.Errorf("in the end: %+v", k)
		}
		return
	}
	stored, err := h.config.Store.Get(h.t.Context(), "default")
	if err != nil || len(stored.Generations) != len(k.Document.Generations) {
		h.t.Errorf("the store has %+v, %v", stored, err)
	}
	active, _ := k.Document.Active()
	if n := len(k.Document.Generations); n != s.generations || len(k.Signing) != len(active.Keys) || active.Number == 0 || k.Problem != "" {
		h.t.Errorf("in the end: %s, problem %q", h.state(), k.Problem)
	}
	if since := time.Since(active.Activated); since > 85*time.Minute && !active.Static {
		h.t.Errorf("generation %d is active since %v ago", active.Number, since)
	}
}

// mode is how an effect goes wrong.
type mode struct {
	name           string
	persist, crash bool
	late           time.Duration
}

// applies reports whether it makes a difference with this kind of effect.
func (m mode) applies(kind string) bool {
	switch {
	case m.late > 0:
		return kind == "generate"
	case m.persist:
		return kind != "list" && kind != "sign" // which leave nothing behind
	}
	return true
}

// Every effect on store, token and page fails once, or is the daemon's last: before it and after
// it. Each swap of the page is checked by house.publish meanwhile.
func TestEveryFaultInEveryTransition(t *testing.T) {
	modes := []mode{
		{"error before", false, false, 0},
		{"error after", true, false, 0},
		{"crash before", false, true, 0},
		{"crash after", true, true, 0},
		{"error, late", false, false, 5 * time.Second},
		{"crash, late", false, true, 5 * time.Second},
	}
	var points atomic.Int64
	t.Run("all", func(t *testing.T) {
		for _, s := range scenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				n := 0
				for _, m := range modes {
					n += s.fail(t, m)
				}
				t.Logf("%d points", n)
				points.Add(int64(n))
			})
		}
	})
	t.Logf("%d points", points.Load())
	if points.Load() < 2000 && !t.Failed() {
		t.Error("those are too few")
	}
}

// fail runs s with each of its effects going wrong once, until it ends before that.
func (s scenario) fail(t *testing.T, m mode) (points int) {
	var effects []string
	if !t.Run("no fault", func(t *testing.T) { effects = s.run(t, func(*fate) {}).kinds }) {
		return 0
	}
	for at := 1; ; at++ {
		if at <= len(effects) && !m.applies(effects[at-1]) {
			continue
		}
		reached := false
		t.Run(fmt.Sprintf("%s effect %d", m.name, at), func(t *testing.T) {
			f := s.run(t, func(f *fate) {
				f.at, f.persist, f.late = at, m.persist, m.late
				if m.crash {
					f.crash = func() {}
				}
			})
			reached = f.count >= at
		})
		if !reached {
			return points
		}
		points++
	}
}
