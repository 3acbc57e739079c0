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

	"keysetd.example/internal/keyspec"
)

// ManagerConfig is what a Manager works with. All fields are required unless they say
// what leaving them out means.
type ManagerConfig struct {
	Store Store
	// Installation is the id that the label of every key carries.
	Installation string
	// Keysets of the configuration, defaults filled in.
	Keysets map[string]Policy
	// Tokens by their names in the configuration. Whoever has them calls Wake when one
	// comes up or goes down.
	Tokens map[string]Token
	// Accept returns the labels of keys on a token that may break the rules for private
	// keys. Nil: there are none.
	Accept func(token string) []string
	// Certify returns a key's chain, DER, leaf first. For a new key it signs before
	// the generation is saved; when it fails the generation is not made. It is asked again for
	// a live key whose chain ends, and not at all where the policy says External. An empty chain
	// means no certificate, and so does a nil Certify.
	Certify func(ctx context.Context, req CertRequest) ([][]byte, error)
	// ChainDates returns between which instants all certificates of a chain are valid (DER, leaf
	// first). Nil: nobody can tell, so that chains are shown whatever they say, never renewed, and
	// none is taken from outside.
	ChainDates func(chain [][]byte) (notBefore, notAfter time.Time, err error)
	// KeyID derives the kid of a key that nobody named.
	KeyID func(pub crypto.PublicKey) (string, error)
	// Aliases returns every kid under which a key of this kid may be published, its own first.
	Aliases func(kid string, spec keyspec.Spec) []string
	// Publish makes the JWKS page and the signers show a snapshot. Once it returned nil no
	// new request sees an older one, and that instant counts as the keys' publication.
	// When it fails everything shows what it showed before. Calls do not overlap.
	Publish func(*Snapshot) error
	// Drain waits until no request is under way that began with an older snapshot than the last one.
	// Nil: there are no requests.
	Drain func(context.Context) error
	// KeepRevocations keeps the revocations of all keysets in another place than the store, from
	// which they are taken should it be lost. Nil: they are not kept.
	KeepRevocations func(map[string][]Revocation) error
	// GenerateLimit is how long the key pairs of one generation may take. It is to be longer
	// than what the token itself allows one pair, so that this one does not cut off what
	// that one still waits for. Unset: 15 minutes.
	GenerateLimit time.Duration
	// Elapsed is a clock that runs evenly and that nobody sets, by which steps of the wall clock
	// are noticed. Nil: CLOCK_BOOTTIME.
	Elapsed func() time.Duration
	// Logger for steps done and for problems, once for each change.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Manager carries out what Plan decides, and what operators want, for all keysets.
//
// Run is the only scheduler. A keyset with work due has one goroutine until there is no
// more. Readers see snapshots only. Locks are taken in this order: changing, then keysets in the order
// of their names, then publishing; and none is held while a token works.
type Manager struct {
	cfg ManagerConfig
	// generating lets one key generation at a time onto a token.
	generating map[string]chan struct{}
	stocks     map[string]*stock
	reported   sync.Map      // what reportNameless told already
	reports    atomic.Int32  // how many
	revoked    sync.Map      // the public keys (PKIX DER) that were ever revoked, in any keyset
	effects    atomic.Uint64 // counts effects on tokens and inventories, to tell which came first
	watch      *clockWatch
	wake       chan struct{} // everything is to be looked at
	poked      chan struct{} // a keyset is, which says so itself
	suspect    bool          // the clock was set, as Run saw it last

	keeping sync.Mutex                // one list of revocations is kept at a time, the newest last
	unkept  atomic.Pointer[time.Time] // that failed; when it is tried again

	claiming sync.Mutex
	claims   map[string]claim // by kid: of keys that no snapshot shows yet

	changing sync.Mutex // the set of keysets, and their policies
	keysets  atomic.Pointer[[]*keyset]

	publishing sync.Mutex
	snapshot   atomic.Pointer[Snapshot]
}

// maxSleep bounds how long the clock is not looked at. Timers run on a clock that stands
// still while the machine is suspended, and the wall clock may be set.
const maxSleep = 5 * time.Minute

// NewManager checks cfg.
func NewManager(cfg ManagerConfig) (*Manager, error) {
	if cfg.Store == nil || cfg.KeyID == nil || cfg.Aliases == nil || cfg.Publish == nil || cfg.Logger == nil || cfg.Installation == "" {
		return nil, errors.New("rotation: the manager needs a store, an installation id, key ids, a page and a logger")
	}
	cfg.GenerateLimit = cmp.Or(cfg.GenerateLimit, defaultGenerateLimit)
	if cfg.Elapsed == nil {
		cfg.Elapsed = sinceBoot
	}
	m := &Manager{
		cfg: cfg, generating: map[string]chan struct{}{}, stocks: map[string]*stock{},
		watch: newClockWatch(cfg.Elapsed),
		wake:  make(chan struct{}, 1), poked: make(chan struct{}, 1),
		claims: map[string]claim{},
	}
	if err := m.check(cfg.Keysets); err != nil {
		return nil, err
	}
	for name := range cfg.Tokens {
		m.generating[name] = make(chan struct{}, 1)
		m.stocks[name] = &stock{turn: make(chan struct{}, 1)}
	}
	m.keysets.Store(&[]*keyset{})
	m.snapshot.Store(&Snapshot{})
	return m, nil
}

// check tells why these keysets cannot be managed.
func (m *Manager) check(keysets map[string]Policy) error {
	for _, name := range slices.Sorted(maps.Keys(keysets)) {
		policy := keysets[name]
		if err := nameError(name); err != nil {
			return err
		}
		if err := policy.Validate(); err != nil {
			return fmt.Errorf("keyset %s: %w", name, err)
		}
		if m.cfg.Tokens[policy.Token] == nil {
			return fmt.Errorf("keyset %s: its token %q is not configured", name, policy.Token)
		}
	}
	return nil
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
		doc.Document = m.dated(doc.Document)
		k.doc = doc
		m.remember(doc.Document)
		if k.marks.until, err = m.cfg.Store.Watermarks(ctx, doc.Keyset); err != nil {
			return fmt.Errorf("loading the watermarks of keyset %s: %w", doc.Keyset, err)
		}
	}
	m.arrange(byName)
	now := clock()
	var views []*Keyset
	for _, k := range m.list() {
		k.shown = m.view(k, now)
		m.alarm(k)
		m.logProblem(k, k.shown.Problem)
		m.logWarnings(k, k.shown.Warnings)
		views = append(views, k.shown)
	}
	if err := m.publish(views...); err != nil {
		return err
	}
	m.keepRevocations()
	if m.cfg.Metrics != nil {
		source := m.Snapshot
		m.cfg.Metrics.snapshot.Store(&source)
	}
	return nil
}

// arrange makes these the keysets there are.
func (m *Manager) arrange(byName map[string]*keyset) {
	var list []*keyset
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	m.keysets.Store(&list)
}

// list returns the keysets there are, by name.
func (m *Manager) list() []*keyset { return *m.keysets.Load() }

// named returns the keyset of this name, or nil.
func (m *Manager) named(name string) *keyset {
	list := m.list()
	if i, ok := slices.BinarySearchFunc(list, name, func(k *keyset, name string) int { return cmp.Compare(k.name, name) }); ok {
		return list[i]
	}
	return nil
}

// Snapshot returns what is published now; before Start, no keysets.
func (m *Manager) Snapshot() *Snapshot { return m.snapshot.Load() }

// Wake has everything looked at again at once, what failed included.
func (m *Manager) Wake() { ring(m.wake) }

// poke has keysets looked at that say that they are to be.
func (m *Manager) poke() { ring(m.poked) }

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
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
		all := false
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-m.poked:
		case <-m.wake:
			all = true
		}
		wait := m.pass(ctx, all, &workers)
		if at := m.unkept.Load(); at != nil {
			if !clock().Before(*at) {
				m.keepRevocations()
			}
			wait = min(wait, lastRetry)
		}
		timer.Reset(wait)
	}
}

// pass looks at every keyset whose time has come, or at all, starts a worker for those that have
// work to do, and returns how long nothing else will be due.
func (m *Manager) pass(ctx context.Context, all bool, workers *sync.WaitGroup) time.Duration {
	now, wait := clock(), maxSleep
	step := m.clockStep() != 0
	all = all || step != m.suspect
	m.suspect = step
	var idle []*keyset
	for _, k := range m.list() {
		k.mu.Lock()
		k.woken = k.woken || all
		if k.running {
			wait = min(wait, m.showChains(k, now))
			k.mu.Unlock()
			continue
		}
		if k.woken {
			k.woken, k.look = false, time.Time{}
			k.failed.hurry()
		}
		if now.Before(k.look) {
			wait = min(wait, k.look.Sub(now))
			k.mu.Unlock()
			continue
		}
		if _, work := m.agenda(k, now); work {
			k.running = true
			k.mu.Unlock()
			workers.Go(func() { m.work(ctx, k) })
			continue
		}
		idle = append(idle, k) // and locked, so that nothing newer is shown before it is
	}
	m.show(idle...)
	for _, k := range idle {
		wait = min(wait, k.look.Sub(now))
		k.mu.Unlock()
	}
	return max(wait, 0)
}

// publish swaps in a snapshot with these keysets changed.
func (m *Manager) publish(changed ...*Keyset) error { return m.publishBy(m.cfg.Publish, changed...) }

func (m *Manager) publishBy(publish func(*Snapshot) error, changed ...*Keyset) error {
	m.publishing.Lock()
	defer m.publishing.Unlock()
	next := m.Snapshot().with(changed...)
	if err := publish(next); err != nil {
		return fmt.Errorf("publishing the page: %w", err)
	}
	m.snapshot.Store(next)
	return nil
}

// observe is what Plan has to know about the world for a keyset.
func (m *Manager) observe(k *keyset, now time.Time) Observation {
	obs := Observation{
		Up: make(map[string]time.Time, len(m.cfg.Tokens)), Counted: make(map[string]bool, len(m.cfg.Tokens)),
		Watermarks: k.marks.all(), ClockSuspect: m.clockTrouble(k, now) != "",
	}
	for name, token := range m.cfg.Tokens {
		if began, up := token.Epoch(); up {
			obs.Up[name], obs.Counted[name] = began, k.counted[name].Equal(began)
		}
		obs.Ahead = obs.Ahead || k.ahead[name]
	}
	return obs
}

// clockStep is by how much the clock was set since it was taken as right; 0 if that is nothing to
// worry about.
func (m *Manager) clockStep() time.Duration { return m.watch.stepped(m.Snapshot().leastSkew()) }

// clockTrouble tells why the clock cannot be trusted for k, or "" (invariant 11).
func (m *Manager) clockTrouble(k *keyset, now time.Time) string {
	policy, _ := k.rules()
	if step := m.clockStep(); step.Abs() > max(policy.ClockSkew, leastSkew) {
		return fmt.Sprintf("the clock was set by %s while keysetd ran", short(m.watch.noticed().Round(time.Second)))
	}
	if newest := k.doc.newest(); now.Add(policy.ClockSkew).Before(newest) {
		return fmt.Sprintf("the clock is behind %s, of which the store tells already", newest.Format(time.RFC3339))
	}
	return ""
}
