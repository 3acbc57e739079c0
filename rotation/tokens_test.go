package rotation_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/rotation"
)

// moved starts a house whose keyset has made its first generations on token hsm, with the
// configuration saying token new from then on.
func moved(t *testing.T) (h *house, fresh *fakeToken) {
	h = newHouse(t)
	h.mustStart()
	h.stop()
	fresh = newFakeToken(h.fate)
	fresh.began = time.Now()
	h.config.Tokens["new"] = fresh
	h.policy.Token = "new"
	h.config.Keysets["default"] = h.policy
	return h, fresh
}

func TestManagerMovesAKeysetToAnotherToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, fresh := moved(t)
		h.mustStart()
		defer h.stop()
		h.want("1 active, 2 pending") // both on the old one
		for _, step := range []struct {
			state    string
			old, new int
		}{
			{"1 retired, 2 active, 3 pending", 2, 1},
			{"2 retired, 3 active, 4 pending", 1, 2},
			{"3 retired, 4 active, 5 pending", 0, 3},
		} {
			after(12 * time.Hour)
			h.want(step.state)
			if o, n := len(h.token.ids()), len(fresh.ids()); o != step.old || n != step.new || h.keyset().Problem != "" {
				t.Errorf("%s: %d keys on the old token, %d on the new one, problem %q", step.state, o, n, h.keyset().Problem)
			}
		}
	})
}

// An outage of the old token stops nothing but what is to be done on it.
func TestManagerMovesWhileTheOldTokenIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, fresh := moved(t)
		h.mustStart()
		defer h.stop()
		after(13 * time.Hour)
		h.want("1 retired, 2 active, 3 pending")
		h.token.set(func(f *fakeToken) { f.down = true })
		h.wake()
		after(24 * time.Hour)
		h.want("1 retired, 2 retired, 3 retired, 4 active, 5 pending")
		if got := h.keyset().Problem; !strings.Contains(got, "token hsm is down") || len(h.token.ids()) != 2 || len(fresh.ids()) != 3 {
			t.Errorf("problem %q", got)
		}
		h.token.set(func(f *fakeToken) { f.down = false })
		h.wake()
		h.want("3 retired, 4 active, 5 pending")
		if got := h.keyset().Problem; got != "" || len(h.token.ids()) != 0 {
			t.Errorf("problem %q, %d keys on the old token", got, len(h.token.ids()))
		}
	})
}

func TestManagerWithoutTheOldToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := moved(t)
		h.mustStart()
		after(13 * time.Hour)
		h.want("1 retired, 2 active, 3 pending")
		h.stop()
		old := h.config.Tokens["hsm"]
		h.config.Tokens = map[string]rotation.Token{"new": h.config.Tokens["new"]}
		h.mustStart()
		if got := h.signing(); got != "" {
			t.Errorf("signing: %s", got)
		}
		after(36 * time.Hour)
		h.want("1 retired, 2 retired, 4 retired, 5 active, 6 pending")
		if got := h.keyset().Problem; !strings.Contains(got, "token hsm has keys of this keyset and is not in the configuration") || strings.Contains(got, "is down") {
			t.Errorf("problem %q", got)
		}
		if got := h.signing(); got != "5 p-256" {
			t.Errorf("signing: %s", got)
		}
		h.stop()
		h.config.Tokens["hsm"] = old
		h.mustStart()
		defer h.stop()
		h.want("4 retired, 5 active, 6 pending")
		if got := h.keyset().Problem; got != "" || len(h.token.ids()) != 0 {
			t.Errorf("problem %q, %d keys on the old token", got, len(h.token.ids()))
		}
	})
}
