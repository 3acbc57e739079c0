package rotation_test

import (
	"crypto"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// pools of keys that were made beforehand, so that making one costs nothing.
var pools = struct {
	sync.Mutex
	keys map[keyspec.Spec][]crypto.Signer
}{keys: map[keyspec.Spec][]crypto.Signer{}}

// pool returns what gives one key after the other, of each spec at least this many different ones.
func pool(size int) func(keyspec.Spec) crypto.Signer {
	next := map[keyspec.Spec]int{}
	return func(spec keyspec.Spec) crypto.Signer {
		pools.Lock()
		defer pools.Unlock()
		i := next[spec] % size
		next[spec]++
		for len(pools.keys[spec]) <= i {
			key, err := newKey(spec)
			if err != nil {
				panic(err)
			}
			pools.keys[spec] = append(pools.keys[spec], key)
		}
		return pools.keys[spec][i]
	}
}

// light leaves out of the house what costs time: checks too.
func (h *house) light() {
	h.plain()
	h.config.Publish = func(*rotation.Snapshot) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.swaps++
		return nil
	}
}

// plain leaves out log and encodings.
func (h *house) plain() {
	h.config.Store = newPlainStore(h.fate)
	h.config.Logger = slog.New(slog.DiscardHandler)
}

// exactly checks that the token has this many keys, which is what the snapshot has.
func (h *house) exactly(keys int) {
	h.t.Helper()
	live := 0
	for _, k := range h.manager.Snapshot().Keysets {
		for _, g := range k.Document.Generations {
			live += len(g.Keys)
		}
	}
	if on := len(h.token.ids()); on != keys || live != keys {
		h.t.Errorf("%d keys on the token, %d on the page; want %d", on, live, keys)
	}
}

// Ten years of half-day periods: each activation comes at its exact hour, although a key takes
// 2 s to make.
func TestTenYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.token.cheap, h.token.takes = pool(8), 2*time.Second
		h.light()
		h.mustStart()
		defer h.stop()
		after(time.Minute)
		first := h.active().Activated
		const rotations = 7300 / slowdown
		for n := 1; n <= rotations; n++ {
			time.Sleep(12 * time.Hour)
			active := h.active()
			if want := first.Add(time.Duration(n) * 12 * time.Hour); active.Number != n+1 || !active.Activated.Equal(want) || !active.Scheduled.Equal(want) {
				t.Fatalf("generation %d is active since %v; want %d since %v", active.Number, active.Activated, n+1, want)
			}
		}
		h.want(fmt.Sprintf("%d retired, %d active, %d pending", rotations, rotations+1, rotations+2))
		h.exactly(3)
	})
}

// A rotation that comes a little late does not put off those after it.
func TestALateRotationKeepsTheCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		first := h.active().Activated
		after(12*time.Hour - time.Second)
		h.token.set(func(f *fakeToken) { f.down = true })
		h.wake()
		after(10 * time.Minute)
		h.token.set(func(f *fakeToken) { f.down = false })
		h.wake()
		if active := h.active(); active.Number != 2 || !active.Activated.Equal(time.Now()) {
			t.Errorf("%s since %v", h.state(), active.Activated)
		}
		after(12 * time.Hour)
		if active := h.active(); active.Number != 3 || !active.Activated.Equal(first.Add(24*time.Hour)) {
			t.Errorf("%s since %v", h.state(), active.Activated)
		}
	})
}

// With the default policy, where a key is needed at the very moment at which its lead is over, the
// calendar is kept up to what it takes to make one each time.
func TestDefaultPolicyKeepsTheCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy = rotation.Policy{Specs: []keyspec.Spec{keyspec.P256}, Token: "hsm", Usage: h.policy.Usage}.WithDefaults().Spread("default")
		h.config.Keysets["default"] = h.policy
		h.token.cheap, h.token.takes = pool(8), 2*time.Second
		h.mustStart()
		defer h.stop()
		after(time.Minute)
		const rotations = 200
		first := h.active().Scheduled
		time.Sleep(time.Until(first.Add(rotations*12*time.Hour + 20*time.Minute)))
		synctest.Wait()
		active := h.active()
		if late := active.Activated.Sub(first.Add(rotations * 12 * time.Hour)); active.Number != rotations+1 || late < 0 || late > rotations*2*time.Second {
			t.Errorf("generation %d is active since %v, %v late", active.Number, active.Activated, late)
		}
		h.tally()
	})
}

// After a month asleep each of many keysets rotates once; and as they are all late together
// they come apart by their jitter.
func TestManyWakeAfterAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		const n = 50
		h.config.Keysets = map[string]rotation.Policy{}
		for i := range n {
			name := fmt.Sprintf("keyset-%d", i)
			h.config.Keysets[name] = h.policy.Spread(name)
		}
		h.token.takes = 2 * time.Second
		h.mustStart()
		defer func() { h.stop() }()
		after(24 * time.Hour)
		numbers := func() map[string]int {
			m := map[string]int{}
			for name, k := range h.manager.Snapshot().Keysets {
				active, _ := k.Document.Active()
				m[name] = active.Number
			}
			return m
		}
		before := numbers()
		h.stop()
		after(30 * 24 * time.Hour)
		h.mustStart()
		woke := time.Now()
		after(5 * time.Hour)
		for name, number := range numbers() {
			if number != before[name]+1 {
				t.Errorf("%s is at generation %d, was at %d", name, number, before[name])
			}
		}
		after(9 * time.Hour)
		minutes := map[time.Time]int{}
		for name, k := range h.manager.Snapshot().Keysets {
			active, _ := k.Document.Active()
			if active.Number != before[name]+2 || active.Activated.Sub(woke) < 12*time.Hour {
				t.Errorf("%s: generation %d is active since %v", name, active.Number, active.Activated)
			}
			minutes[active.Activated.Truncate(time.Minute)]++
		}
		if len(minutes) < n/2 {
			t.Errorf("%d keysets rotate in %d minutes", n, len(minutes))
		}
		after(time.Minute)
		h.tally()
	})
}

// A thousand keysets begin with one list of the token, and never make two keys at once.
func TestAThousandKeysets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		const n = 1000 / slowdown
		h.config.Keysets = map[string]rotation.Policy{}
		for i := range n {
			name := fmt.Sprintf("keyset-%d", i)
			h.config.Keysets[name] = h.policy.Spread(name)
		}
		h.token.cheap = pool(3 * n)
		h.token.takes = 100 * time.Millisecond
		h.light()
		h.mustStart()
		defer func() { h.stop() }()
		for _, round := range []string{"the first start", "a restart"} {
			after(5 * time.Minute)
			h.token.set(func(f *fakeToken) {
				if f.listed != 1 || f.overlap {
					t.Errorf("%s: listed %d times, two keys made at once: %t", round, f.listed, f.overlap)
				}
				f.listed = 0
			})
			for name, k := range h.manager.Snapshot().Keysets {
				if _, ok := k.Document.Pending(); !ok || len(k.Signing) != 1 || k.Problem != "" {
					t.Fatalf("%s: %s: %+v, problem %q", round, name, k.Document, k.Problem)
				}
			}
			h.exactly(2 * n)
			h.mu.Lock()
			swaps := h.swaps
			h.swaps = 0
			h.mu.Unlock()
			if swaps > 6*n+1 { // each keyset's page changes that often until it has two generations
				t.Errorf("%s: the page was swapped %d times", round, swaps)
			}
			h.stop()
			h.mustStart()
		}
	})
}

// Two tokens make keys at the same time.
func TestTokensMakeKeysAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		second := newFakeToken(h.fate)
		second.renew()
		h.config.Tokens["second"] = second
		p := h.policy
		p.Token = "second"
		h.config.Keysets["other"] = p
		h.config.Keysets["another"] = p
		h.token.takes, second.takes = time.Minute, time.Minute
		h.mustStart()
		defer h.stop()
		making := func(f *fakeToken) (n int) {
			f.set(func(f *fakeToken) { n = f.making })
			return n
		}
		for range 3 {
			after(30 * time.Second)
			if a, b := making(h.token), making(second); a > 1 || b != 1 || time.Now().Minute() < 2 && a != 1 {
				t.Errorf("%d and %d keys are being made", a, b)
			}
			after(30 * time.Second)
		}
		if h.token.overlap || second.overlap {
			t.Error("two keys were made at once")
		}
	})
}

// Beside keys with numbers that the store never gave, nothing is made.
func TestNothingIsMadeAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.token.set(func(f *fakeToken) {
			f.labels["old"] = "keysetd/installation/default/1/p-256"
			f.keys["old"], _ = newKey(keyspec.P256)
		})
		h.config.Keysets["other"] = h.policy
		h.mustStart()
		defer func() { h.stop() }()
		after(48 * time.Hour)
		if p := h.keyset().Problem; h.state() != "" || len(h.events("made")) != 0 || !strings.Contains(p, "with numbers that it never gave") || !strings.Contains(p, "keysetd recover") {
			t.Errorf("%s, problem %q", h.state(), p)
		}
		if k := h.manager.Snapshot().Keysets["other"]; len(k.Signing) != 1 || k.Problem != "" {
			t.Errorf("the other one: problem %q", k.Problem)
		}
		h.token.set(func(f *fakeToken) { delete(f.labels, "old"); delete(f.keys, "old"); f.renew() })
		h.wake()
		h.want("1 active, 2 pending")
	})
}

// Reloads and acts come at the same time as steps of many keysets.
func TestReloadsAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		keysets := map[string]rotation.Policy{}
		p := h.policy
		p.Period, p.Lead, p.Retain, p.MaxTokenLifetime = time.Hour, 30*time.Minute, time.Hour, 30*time.Minute
		for i := range 20 {
			keysets[fmt.Sprintf("keyset-%d", i)] = p
		}
		keysets["default"] = p
		h.config.Keysets = keysets
		h.token.takes = time.Second
		h.mustStart()
		defer h.stop()
		for i := range 30 {
			p.MaxAge = time.Duration(i+1) * 10 * time.Second
			next := map[string]rotation.Policy{}
			for name := range keysets {
				next[name] = p
			}
			go h.manager.Rotate(t.Context(), fmt.Sprintf("keyset-%d", i%20), act)
			go h.manager.Preview(rotation.Change{Keysets: next})
			h.reloaded2(next)
			after(7 * time.Minute)
		}
		for name, k := range h.manager.Snapshot().Keysets {
			if len(k.Signing) != 1 || k.Problem != "" {
				t.Errorf("%s: %+v, problem %q", name, k.Signing, k.Problem)
			}
		}
		after(10 * time.Minute)
		h.tally()
	})
}
