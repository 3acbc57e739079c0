package rotation

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ManagerConfig is what a Manager works with. All fields are required unless they say
// what leaving them out means.
type ManagerConfig struct {
	Store Store
	// Installation is the id that the label of every key carries.
	Installation string
	// Keysets are the dynamic keysets of the configuration, defaults filled in.
	Keysets map[string]Policy
	// Tokens by their names in the configuration. Whoever has them calls Wake when one
	// comes up or goes down.
	Tokens map[string]Token
	// Certify returns a new key's chain, DER, leaf first. It signs with the new key before
	// the generation is saved; when it fails the generation is not made. An empty chain
	// means no certificate, and so does a nil Certify.
	Certify func(ctx context.Context, req CertRequest) ([][]byte, error)
	// KeyID derives the kid of a key.
	KeyID func(pub crypto.PublicKey) (string, error)
	// Publish makes the JWKS page and the signers show a snapshot. Once it returned nil no
	// new request sees an older one, and that instant counts as the keys' publication.
	// When it fails everything shows what it showed before. Calls do not overlap.
	Publish func(*Snapshot) error
	// GenerateLimit is how long the key pairs of one generation may take. It is to be longer
	// than what the token itself allows one pair, so that this one does not cut off what
	// that one still waits for. Unset: 15 minutes.
	GenerateLimit time.Duration
	// Logger for steps done and for problems, once for each change.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Manager carries out what Plan decides, for all keysets.
//
// Run is the only scheduler. A keyset with work due has one goroutine until there is no
// more; between, it belongs to the scheduler, so that its state needs no lock. Readers see
// snapshots only.
type Manager struct {
	cfg     ManagerConfig
	keysets []*keyset
	// generating lets one key generation at a time onto a token.
	generating map[string]chan struct{}
	stocks     map[string]*stock
	known      map[string]bool // the names of all keysets; fixed by Start
	reported   sync.Map        // what reportNameless told already
	effects    atomic.Uint64   // counts effects on tokens and inventories, to tell which came first
	wake       chan struct{}
	done       chan *keyset

	publishing sync.Mutex
	snapshot   atomic.Pointer[Snapshot]
}

// maxSleep bounds how long a keyset is not looked at. Timers run on a clock that stands
// still while the machine is suspended, and the wall clock may be set.
const maxSleep = 5 * time.Minute

// NewManager checks cfg.
func NewManager(cfg ManagerConfig) (*Manager, error) {
	if cfg.Store == nil || cfg.KeyID == nil || cfg.Publish == nil || cfg.Logger == nil || cfg.Installation == "" {
		return nil, errors.New("rotation: the manager needs a store, an installation id, key ids, a page and a logger")
	}
	cfg.GenerateLimit = cmp.Or(cfg.GenerateLimit, defaultGenerateLimit)
	m := &Manager{
		cfg: cfg, generating: map[string]chan struct{}{}, stocks: map[string]*stock{}, known: map[string]bool{},
		wake: make(chan struct{}, 1), done: make(chan *keyset),
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Keysets)) {
		policy := cfg.Keysets[name]
		if err := nameError(name); err != nil {
			return nil, err
		}
		if err := policy.Validate(); err != nil {
			return nil, fmt.Errorf("keyset %s: %w", name, err)
		}
		if cfg.Tokens[policy.Token] == nil {
			return nil, fmt.Errorf("keyset %s: its token %q is not configured", name, policy.Token)
		}
	}
	for name := range cfg.Tokens {
		m.generating[name] = make(chan struct{}, 1)
		m.stocks[name] = &stock{turn: make(chan struct{}, 1)}
	}
	m.snapshot.Store(&Snapshot{})
	return m, nil
}

// Start loads the store and publishes the first snapshot. It makes and changes nothing.
func (m *Manager) Start(ctx context.Context) error {
	docs, err := m.cfg.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	byName := map[string]*keyset{}
	for name, policy := range m.cfg.Keysets {
		byName[name] = newKeyset(name)
		byName[name].policy, byName[name].configured = policy, true
	}
	for _, doc := range docs {
		k := byName[doc.Keyset]
		if k == nil {
			k = newKeyset(doc.Keyset) // not configured
			byName[doc.Keyset] = k
		}
		k.doc = doc
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		m.keysets = append(m.keysets, byName[name])
		m.known[name] = true
	}
	now := clock()
	var views []*Keyset
	for _, k := range m.keysets {
		k.shown = m.view(k, now)
		m.alarm(k)
		m.logProblem(k, k.shown.Problem)
		views = append(views, k.shown)
	}
	if err := m.publish(views...); err != nil {
		return err
	}
	if m.cfg.Metrics != nil {
		source := m.Snapshot
		m.cfg.Metrics.snapshot.Store(&source)
	}
	return nil
}

// Snapshot returns what is published now; before Start, no keysets.
func (m *Manager) Snapshot() *Snapshot { return m.snapshot.Load() }

// Wake has everything looked at again at once, what failed included.
func (m *Manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default: // there is one already that nobody has seen
	}
}

// Run does what is due until ctx ends, and then returns nil when the last step has ended.
// Start comes first.
func (m *Manager) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-m.wake:
			for _, k := range m.keysets {
				k.woken = true
			}
		case k := <-m.done:
			k.running = false
		}
		timer.Reset(m.pass(ctx, &workers))
	}
}

// pass looks at every keyset whose time has come, starts a worker for those that have
// work to do, and returns how long nothing else will be due.
func (m *Manager) pass(ctx context.Context, workers *sync.WaitGroup) time.Duration {
	now, wait := clock(), maxSleep
	var idle []*keyset
	for _, k := range m.keysets {
		if k.running {
			continue
		}
		if k.woken {
			k.woken, k.look = false, time.Time{}
			k.failed.hurry()
		}
		if !now.Before(k.look) {
			if _, work := m.agenda(k, now); work {
				k.running = true
				workers.Go(func() { m.work(ctx, k) })
				continue
			}
			idle = append(idle, k)
		}
	}
	m.show(idle...)
	for _, k := range m.keysets {
		if !k.running {
			wait = min(wait, k.look.Sub(now))
		}
	}
	return max(wait, 0)
}

// publish swaps in a snapshot with these keysets changed.
func (m *Manager) publish(changed ...*Keyset) error {
	m.publishing.Lock()
	defer m.publishing.Unlock()
	next := m.Snapshot().with(changed...)
	if err := m.cfg.Publish(next); err != nil {
		return fmt.Errorf("publishing the page: %w", err)
	}
	m.snapshot.Store(next)
	return nil
}

// observe is what Plan has to know about the world for a keyset.
func (m *Manager) observe(k *keyset, now time.Time) Observation {
	obs := Observation{Up: make(map[string]time.Time, len(m.cfg.Tokens)), Counted: make(map[string]bool, len(m.cfg.Tokens))}
	for name, token := range m.cfg.Tokens {
		if began, up := token.Epoch(); up {
			obs.Up[name], obs.Counted[name] = began, k.counted[name].Equal(began)
		}
	}
	obs.ClockSuspect = now.Add(k.policy.ClockSkew).Before(k.doc.newest())
	return obs
}

// clock is the wall clock alone, as documents have it.
func clock() time.Time { return time.Now().Round(0).UTC() }
