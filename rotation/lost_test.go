package rotation_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

func (h *house) events(what string) (events []rotation.Event) {
	h.t.Helper()
	all, err := h.store.History(h.t.Context(), "default", 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range all {
		if e.What == what {
			events = append(events, e)
		}
	}
	return events
}

func (h *house) wake() {
	h.manager.Wake()
	synctest.Wait()
}

// signing is the specs of the keys that sign, by generation.
func (h *house) signing() string {
	var parts []string
	for _, k := range h.keyset().Signing {
		l, err := rotation.ParseLabel(k.Label)
		if err != nil {
			h.t.Error(err)
		}
		parts = append(parts, fmt.Sprintf("%d %s", l.Generation, l.Spec))
	}
	return strings.Join(parts, ", ")
}

func TestManagerLosesTheActiveKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Specs = []keyspec.Spec{keyspec.P256, keyspec.Ed25519}
		h.config.Keysets["default"] = h.policy
		h.mustStart()
		defer h.stop()
		if got := h.signing(); got != "1 p-256, 1 ed25519" {
			t.Fatalf("signing: %s", got)
		}
		active, _ := h.keyset().Document.Active()
		pending, _ := h.keyset().Document.Pending()
		h.token.lose(active.Keys[0])
		h.wake()
		h.want("1 active, 2 pending")
		if got := h.signing(); got != "1 ed25519" {
			t.Errorf("signing with what is left: %s", got)
		}
		k := h.keyset()
		if !strings.Contains(k.Problem, "lost") || !strings.Contains(k.Problem, active.Keys[0].KID) || !k.Next.Equal(pending.UsableFrom) || k.Document.Generations[0].Keys[0].Lost.IsZero() {
			t.Errorf("problem %q, next %v", k.Problem, k.Next)
		}
		if log := h.log.String(); strings.Count(log, `level=ERROR msg="ALARM`) != 1 || !strings.Contains(log, active.Keys[0].KID) {
			t.Errorf("log:\n%s", log)
		}
		if e := h.events("lost"); len(e) != 1 || e[0].Generation != 1 || e[0].KIDs[0] != active.Keys[0].KID {
			t.Errorf("events %+v", e)
		}
		after(time.Until(pending.UsableFrom) - 1)
		h.want("1 active, 2 pending")
		after(1)
		h.want("1 retired, 2 active, 3 pending") // nothing left the page
		if got := h.signing(); got != "2 p-256, 2 ed25519" {
			t.Errorf("signing: %s", got)
		}
		if n := strings.Count(h.log.String(), "ALARM"); n != 1 {
			t.Errorf("%d alarms for one key", n)
		}
		after(13 * time.Hour) // it goes as it would have gone
		h.want("2 retired, 3 active, 4 pending")
		h.tally()
		if strings.Contains(h.keyset().Problem, "lost") {
			t.Errorf("problem %q", h.keyset().Problem)
		}
	})
}

func TestManagerFindsALostKeyAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer func() { h.stop() }()
		key := h.keyset().Document.Generations[0].Keys[0]
		var kept = h.token.keys[string(key.ID)]
		h.token.lose(key)
		h.wake()
		if got := h.signing(); got != "" {
			t.Errorf("signing: %s", got)
		}
		h.stop()
		h.mustStart() // the alarm is repeated
		if n := strings.Count(h.log.String(), "ALARM"); n != 2 {
			t.Errorf("%d alarms:\n%s", n, h.log.String())
		}
		h.token.set(func(f *fakeToken) { f.keys[string(key.ID)] = kept; f.renew() })
		h.wake()
		if got := h.signing(); got != "1 p-256" || h.keyset().Problem != "" || len(h.events("found")) != 1 {
			t.Errorf("signing: %s, problem %q", got, h.keyset().Problem)
		}
		h.want("1 active, 2 pending")
		h.tally()
	})
}

// With the pending key lost, another one takes its place; and no number of them is made for
// a token that loses each.
func TestManagerReplacesALostPendingKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		for range 5 {
			if pending, ok := h.keyset().Document.Pending(); ok {
				h.token.lose(pending.Keys[0])
			}
			h.wake()
			after(time.Minute)
		}
		h.want("1 active, 2 pending, 3 pending, 4 pending")
		if got := h.signing(); got != "1 p-256" {
			t.Errorf("signing: %s", got)
		}
	})
}

// Whatever an inventory that fails looks like, no key is lost by it, and none is made.
func TestManagerOutageIsNotAbsence(t *testing.T) {
	for name, fail := range map[string]func(f *fakeToken){
		"error": func(f *fakeToken) {
			f.fail = func(operation string) error {
				if operation == "list" {
					return hsm.ErrUnavailable
				}
				return nil
			}
		},
		"down": func(f *fakeToken) { f.down = true },
		"another epoch meanwhile": func(f *fakeToken) {
			f.fail = func(operation string) error {
				f.renew()
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.mustStart()
				defer h.stop()
				before := h.token.ids()
				after(time.Second)
				h.token.restart()
				h.token.set(fail)
				h.token.set(func(f *fakeToken) { clear(f.keys) })
				h.wake()
				after(48 * time.Hour)
				h.want("1 active, 2 pending")
				if got := h.signing(); got != "1 p-256" || len(h.events("lost")) != 0 || len(h.token.ids()) != 0 || h.keyset().Problem == "" {
					t.Errorf("signing: %s, %d of %d keys, problem %q", got, len(h.token.ids()), len(before), h.keyset().Problem)
				}
			})
		})
	}
}

func TestManagerLeavesStraysAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		strays := map[string]string{
			"stray":   "keysetd/installation/default/77/p-256",
			"nobody":  "keysetd/installation/never-heard-of/1/p-256",
			"foreign": "keysetd/other-installation/default/77/p-256",
			"unnamed": "",
			"strange": "keysetd/installation/default",
		}
		h.token.labels = strays
		h.mustStart()
		defer h.stop()
		for range 3 {
			after(13 * time.Hour)
			h.token.restart()
			h.wake()
		}
		if got := h.keyset().Problem; !strings.Contains(got, "1 keys with this keyset's label") || !strings.Contains(got, strays["stray"]) {
			t.Errorf("problem %q", got)
		}
		for id, reported := range map[string]int{"stray": 1, "nobody": 1, "strange": 1, "foreign": 0} {
			if strays[id] == "" {
				t.Errorf("%s was destroyed", id)
			}
			if n := strings.Count(h.log.String(), strays[id]+" ") + strings.Count(h.log.String(), fmt.Sprintf("id=%x", id)); n < reported || reported == 0 && n > 0 {
				t.Errorf("%s is told of %d times:\n%s", id, n, h.log.String())
			}
		}
		if n := strings.Count(h.log.String(), "bears this installation's id"); n != 2 {
			t.Errorf("%d objects of no keyset were reported", n)
		}
	})
}

// A key that was finished in a new epoch after another keyset had the token listed is not lost.
func TestManagerTakesNoOldInventory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		manual := h.policy
		manual.Manual = true
		h.config.Keysets["by-hand"] = manual
		h.mustStart()
		defer h.stop()
		h.token.set(func(f *fakeToken) { f.takes, f.listed = 10*time.Second, 0 })
		after(12*time.Hour + 5*time.Second) // the third generation is being made
		h.want("1 retired, 2 active")
		h.token.restart()
		h.wake()
		h.token.set(func(f *fakeToken) {
			if f.listed != 1 {
				t.Errorf("the token was listed %d times", f.listed)
			}
		})
		after(time.Minute)
		h.want("1 retired, 2 active, 3 pending")
		if got := h.keyset().Problem; got != "" || len(h.events("lost")) != 0 {
			t.Errorf("problem %q", got)
		}
	})
}

// One list of all keys serves all keysets.
func TestManagerListsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for i := range 50 {
			h.config.Keysets[fmt.Sprintf("keyset-%d", i)] = h.policy
		}
		h.mustStart()
		defer h.stop()
		after(time.Second)
		h.token.set(func(f *fakeToken) { f.listed = 0; f.renew() })
		h.wake()
		h.token.set(func(f *fakeToken) {
			if f.listed != 1 {
				t.Errorf("the token was listed %d times", f.listed)
			}
		})
	})
}
