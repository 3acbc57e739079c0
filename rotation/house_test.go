package rotation_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// house is a daemon's worth of things around a Manager, which may be restarted.
type house struct {
	t        *testing.T
	store    *store.Memory
	token    *fakeToken
	fate     *fate
	policy   rotation.Policy
	config   rotation.ManagerConfig
	log      logBuffer
	mu       sync.Mutex
	broken   error         // what Publish or Certify returns, if set
	noIssuer error         // why no certificate is issued
	stepped  time.Duration // by how much the wall clock was set
	checks   map[string]*audience
	swaps    int                      // of the page
	swapped  func(*rotation.Snapshot) // hears of each
	manager  *rotation.Manager
	stop     func()
	began    time.Time            // a scenario, with
	crashed  chan struct{}        // what a crash closes
	deed     string               // which one is being done
	named    map[[2]string]string // and the kids that deeds are about
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, fate: &fate{}, store: store.NewMemory("installation"), checks: map[string]*audience{}}
	h.token = newFakeToken(h.fate)
	h.store.Inject(func(rotation.Document) store.Fault {
		err, happens := h.fate.next("save")
		return store.Fault{Err: err, Persisted: happens}
	})
	h.store.InjectRaise(func(string, int, time.Time) store.Fault {
		err, happens := h.fate.next("raise")
		return store.Fault{Err: err, Persisted: happens}
	})
	h.policy = rotation.Policy{Specs: []keyspec.Spec{keyspec.P256}, Token: "hsm", Usage: wire.Sign, Period: 12 * time.Hour, Lead: 6 * time.Hour}.WithDefaults()
	h.config = rotation.ManagerConfig{
		Store: h.store, Installation: h.store.Installation(),
		Keysets: map[string]rotation.Policy{"default": h.policy},
		Tokens:  map[string]rotation.Token{"hsm": h.token},
		KeyID: func(pub crypto.PublicKey) (string, error) {
			der, err := x509.MarshalPKIXPublicKey(pub)
			sum := sha256.Sum256(der)
			return hex.EncodeToString(sum[:8]), err
		},
		Aliases: aliases, Publish: h.publish, Elapsed: h.elapsed(),
		Logger: slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	return h
}

// aliases are those of a page that has a second name for every key.
func aliases(kid string, _ keyspec.Spec) []string { return []string{kid, kid + "-RS384"} }

// elapsed is a clock that nobody sets. In a bubble nobody can set the wall clock either, so
// a step of that one is this one's, the other way.
func (h *house) elapsed() func() time.Duration {
	start := time.Now()
	return func() time.Duration {
		h.mu.Lock()
		defer h.mu.Unlock()
		return time.Since(start) - h.stepped
	}
}

// setClock sets the wall clock, as far as can be seen.
func (h *house) setClock(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stepped += by
}

func (h *house) isBroken() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken
}

// breaks sets what fails from now on; nil for nothing.
func (h *house) breaks(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = err
}

// publish is the page: each swap is checked against every verifier there could be.
func (h *house) publish(s *rotation.Snapshot) error {
	if err := h.isBroken(); err != nil {
		return err
	}
	err, happens := h.fate.next("page")
	if err != nil && !(happens && h.fate.dead) { // a page that fails is not swapped, but may be before a crash
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.swaps++
	for name, k := range s.Keysets {
		a := h.audience(name)
		if a.shown == k {
			continue
		}
		if err := a.show(k, time.Now()); err != nil {
			h.t.Errorf("keyset %s: %v", name, err)
		}
	}
	if h.swapped != nil {
		h.swapped(s)
	}
	return err
}

// audience of a keyset. The house is locked.
func (h *house) audience(name string) *audience {
	if h.checks[name] == nil {
		h.checks[name] = newAudience()
	}
	return h.checks[name]
}

// accepts says that an operator accepts that verifiers may not know what signs.
func (h *house) accepts(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.audience("default").accepts = yes
}

// outlive has a token signed that is valid until exp.
func (h *house) outlive(exp time.Time) error {
	active, _ := h.keyset().Document.Active()
	err := h.manager.Outlive(h.t.Context(), "default", active.Number, exp)
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, key := range active.Keys {
			u := h.audience("default").uses[key.KID]
			u.until = later(u.until, exp.Add(h.policy.ClockSkew))
		}
	}
	return err
}

// reload puts another configuration in force.
func (h *house) reload(keysets map[string]rotation.Policy, remove ...string) ([]rotation.Effect, error) {
	effects, err := h.manager.Reconfigure(h.t.Context(), rotation.Change{Keysets: keysets, Remove: remove, Act: act}, h.publish)
	if err == nil {
		h.config.Keysets = keysets
	}
	return effects, err
}

// reloaded does so with only the default keyset in it, and lets the dust settle.
func (h *house) reloaded(policy rotation.Policy) []rotation.Effect {
	h.t.Helper()
	effects, err := h.reload(map[string]rotation.Policy{"default": policy})
	if err != nil {
		h.t.Fatal(err)
	}
	h.policy = policy
	synctest.Wait()
	return effects
}

// act is what an operator of the tests does.
var act = rotation.Act{By: "uid 1001", Why: "a test"}

// start starts a Manager; h.stop ends it. It returns what Start returns.
func (h *house) start() error {
	h.t.Helper()
	m, err := rotation.NewManager(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	h.manager = m
	h.token.restart()
	ctx, cancel := context.WithCancel(h.t.Context())
	if err := m.Start(ctx); err != nil {
		cancel()
		return err
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx); err != nil {
			h.t.Errorf("Run: %v", err)
		}
	})
	h.stop = func() { cancel(); running.Wait() }
	return nil
}

func (h *house) mustStart() {
	h.t.Helper()
	if err := h.start(); err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
}

// after lets time pass until everything waits again.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// state is the default keyset as "1 retired, 2 active, 3 pending".
func (h *house) state() string {
	var parts []string
	for _, g := range h.keyset().Document.Generations {
		parts = append(parts, fmt.Sprintf("%d %s", g.Number, g.State))
	}
	return strings.Join(parts, ", ")
}

func (h *house) keyset() *rotation.Keyset { return h.manager.Snapshot().Keysets["default"] }

func (h *house) want(state string) {
	h.t.Helper()
	if got := h.state(); got != state {
		h.t.Errorf("%v: %s; want %s (problem: %q)", time.Now(), got, state, h.keyset().Problem)
	}
}

// tally checks that the token holds exactly what the store says: besides, only what an
// abandoned attempt may have made.
func (h *house) tally() {
	h.t.Helper()
	docs, err := h.config.Store.Load(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	var want []string
	abandoned := map[string]bool{}
	h.token.set(func(f *fakeToken) { want = slices.Sorted(maps.Keys(f.foreign)) })
	for _, doc := range docs {
		for _, g := range doc.Generations {
			for _, k := range g.Keys {
				if !g.Static { // those are on the token whatever happens
					want = append(want, string(k.ID))
				}
			}
		}
		if len(doc.Intents) > 0 {
			h.t.Errorf("intents are left: %+v", doc.Intents)
		}
		for _, r := range doc.Revoked {
			if r.Kept && strings.HasPrefix(r.Label, "keysetd/") {
				want = append(want, string(r.ID))
			}
		}
		for _, a := range doc.Abandoned {
			abandoned[string(a.ID)] = true
		}
	}
	slices.Sort(want)
	got := slices.DeleteFunc(h.token.ids(), func(id string) bool { return abandoned[id] })
	if !slices.Equal(got, want) {
		h.t.Errorf("the token holds %x, the store says %x", got, want)
	}
}

// logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
