package rotation_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
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
	t       *testing.T
	store   *store.Memory
	token   *fakeToken
	fate    *fate
	policy  rotation.Policy
	config  rotation.ManagerConfig
	log     logBuffer
	mu      sync.Mutex
	broken  error // what Publish or Certify returns, if set
	checks  map[string]*rotation.Verifiers
	manager *rotation.Manager
	stop    func()
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, fate: &fate{}, store: store.NewMemory("installation"), checks: map[string]*rotation.Verifiers{}}
	h.token = &fakeToken{keys: map[string]crypto.Signer{}, labels: map[string]string{}, fate: h.fate}
	h.store.Inject(func(rotation.Document) store.Fault {
		err, happens := h.fate.next()
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
		Publish: h.publish,
		Logger:  slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	return h
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
	err, happens := h.fate.next()
	if err != nil && !(happens && h.fate.dead) { // a page that fails is not swapped, but may be before a crash
		return err
	}
	for name, k := range s.Keysets {
		if h.checks[name] == nil {
			h.checks[name] = &rotation.Verifiers{}
		}
		if err := h.checks[name].Show(k.Document, h.config.Keysets[name], k.MaxAge(), time.Now()); err != nil {
			h.t.Errorf("keyset %s: %v", name, err)
		}
	}
	return nil
}

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
	docs, err := h.store.Load(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	var want []string
	abandoned := map[string]bool{}
	for _, doc := range docs {
		for _, g := range doc.Generations {
			for _, k := range g.Keys {
				want = append(want, string(k.ID))
			}
		}
		if len(doc.Intents) > 0 {
			h.t.Errorf("intents are left: %+v", doc.Intents)
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
