package rotation_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A step of the clock suspends what depends on the time, loudly and once, until the clock agrees
// again or an operator accepts it.
func TestClockSteps(t *testing.T) {
	for _, by := range []time.Duration{31 * time.Second, time.Hour, -31 * time.Second, -24 * time.Hour} {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprint(by, accepted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHouse(t)
					h.mustStart()
					defer h.stop()
					after(23 * time.Hour)
					h.want("1 retired, 2 active, 3 pending")
					h.setClock(by)
					after(5 * time.Minute) // within which it is noticed
					before := h.keyset().Document
					p := h.keyset().Problem
					if !strings.Contains(p, fmt.Sprintf("the clock was set by %s while keysetd ran; nothing is activated, retired or destroyed until it agrees", strings.TrimSuffix(strings.TrimSuffix(by.String(), "0s"), "0m"))) {
						t.Errorf("problem %q", p)
					}
					after(48 * time.Hour)
					h.want("1 retired, 2 active, 3 pending")
					if d := h.keyset().Document; d.StaleUntil != before.StaleUntil || len(d.Generations) != 3 {
						t.Errorf("%+v", d)
					}
					if n := strings.Count(h.log.String(), "has a problem"); n != 1 {
						t.Errorf("logged %d times:\n%s", n, h.log.String())
					}
					// A revoked key goes nevertheless, and what verifiers may not know does not sign.
					a := h.revocation(h.active())
					h.revoke(a)
					synctest.Wait()
					h.want("1 retired, 3 pending")
					h.tally()
					if accepted {
						if err := h.manager.AcceptClock(t.Context(), act); err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
						if log := h.log.String(); !strings.Contains(log, `msg="the clock was accepted as it is" by="uid 1001" why="a test"`) {
							t.Errorf("log:\n%s", log)
						}
					} else {
						h.setClock(-by)
						after(5 * time.Minute)
					}
					h.want("3 active, 4 pending")
					if p := h.keyset().Problem; p != "" {
						t.Errorf("problem %q", p)
					}
					after(13 * time.Hour)
					h.want("3 retired, 4 active, 5 pending")
					h.tally()
				})
			})
		}
	}
}

// Small steps are followed, however many they are.
func TestClockIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		for range 100 {
			h.setClock(29 * time.Second)
			after(7 * time.Minute)
			if p := h.keyset().Problem; p != "" {
				t.Fatalf("problem %q", p)
			}
		}
		after(time.Hour)
		h.want("1 retired, 2 active, 3 pending")
	})
}

// What was written while the clock was ahead is put right once an operator accepts the clock.
func TestClockBehindTheStoreIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		after(13 * time.Hour)
		h.want("1 retired, 2 active, 3 pending")
		h.stop()

		back := newHouse(t)
		back.store, back.config.Store, back.token = h.store, h.store, h.token
		back.config.Tokens = h.config.Tokens
		doc, err := h.store.Get(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		shift := 13*time.Hour + 30*24*time.Hour // as if all had happened a month from now
		for i := range doc.Generations {
			g := &doc.Generations[i]
			for _, t := range []*time.Time{&g.Scheduled, &g.Made, &g.Published, &g.UsableFrom, &g.Activated, &g.Retired, &g.RetainUntil} {
				if !t.IsZero() {
					*t = t.Add(shift)
				}
			}
		}
		doc.StaleUntil = doc.StaleUntil.Add(shift)
		if _, err := h.store.Save(t.Context(), doc.Document, doc.Version); err != nil {
			t.Fatal(err)
		}
		back.mustStart()
		defer back.stop()
		after(24 * time.Hour)
		back.want("1 retired, 2 active, 3 pending")
		if p := back.keyset().Problem; !strings.Contains(p, "the clock is behind 2000-02-01T01:00:00Z, of which the store tells already") {
			t.Errorf("problem %q", p)
		}
		accepted := time.Now()
		if err := back.manager.AcceptClock(t.Context(), act); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if p := back.keyset().Problem; p != "" || back.by("clock accepted") != 1 {
			t.Errorf("problem %q, %d events", p, back.by("clock accepted"))
		}
		after(12 * time.Hour)
		if since := back.active().Activated.Sub(accepted); back.active().Number != 3 || since < 6*time.Hour || since > 12*time.Hour {
			t.Errorf("%s, activated after %v", back.state(), since)
		}
		after(24 * time.Hour)
		back.tally()
	})
}

// A key that is lost is looked for about once a minute, and found when it is back.
func TestLostKeysAreLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for i := range 20 {
			h.config.Keysets[fmt.Sprintf("keyset-%d", i)] = h.policy
		}
		h.mustStart()
		defer h.stop()
		key := h.active().Keys[0]
		kept := h.token.keys[string(key.ID)]
		h.token.lose(key)
		h.wake()
		if len(h.keyset().Signing) != 0 {
			t.Fatal("it signs")
		}
		h.token.set(func(f *fakeToken) { f.fresh, f.listed = 0, 0 })
		after(time.Hour)
		h.token.set(func(f *fakeToken) {
			if f.fresh < 55 || f.fresh > 60 || f.listed > 61 {
				t.Errorf("asked to look %d times in an hour, listed %d times", f.fresh, f.listed)
			}
			f.keys[string(key.ID)] = kept // in the same epoch
			f.fresh = 0
		})
		after(time.Minute + time.Second)
		if len(h.events("found")) != 1 || h.keyset().Problem != "" {
			t.Errorf("problem %q", h.keyset().Problem)
		}
		after(5 * time.Hour)
		h.token.set(func(f *fakeToken) {
			if f.fresh > 1 {
				t.Errorf("looked for %d times although it was found", f.fresh)
			}
		})
	})
}
