// Package daemon puts keysetd together: tokens, rotation, pages, the signing service
// and its doors. Each part knows only what is below it; here they meet.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
	"keysetd.example/signing"
	"keysetd.example/signing/door"
	"keysetd.example/signing/policy"
)

// Options of Run.
type Options struct {
	Logger *slog.Logger
	// Load reads the configuration again, as the one that Run is given was read.
	Load func() (*config.Config, error)
	// Ready is called once all doors answer and every keyset can sign. Nil: nobody is told.
	Ready func(Addresses)
}

// Run is the daemon. It returns nil when ctx has ended and everything is put away.
func Run(ctx context.Context, cfg *config.Config, opts Options) (err error) {
	log := opts.Logger
	// First, and for good: until somebody listens, SIGHUP ends a process.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	rights, err := enter(cfg)
	if err != nil {
		return err
	}
	db, err := store.Open(cfg.Store.Path)
	if err != nil {
		return err
	}
	defer closing(&err, "the store", db.Close)
	if kept := db.Migrated(); kept != "" {
		log.Warn("the store was of an older version and is migrated; an older keysetd cannot read it any more", "store", cfg.Store.Path, "copy", kept)
	}
	revoked := revocationFile{cfg.Store.Path, db.Installation(), log}
	known, err := revoked.read()
	if err != nil {
		return err
	}
	seal := new(sealer)
	trail, err := openTrail(cfg, db.Installation(), seal, log)
	if err != nil {
		return err
	}
	closeTrail := sync.OnceFunc(func() { closing(&err, "the audit log", trail.Close) })
	defer closeTrail()

	// Before anybody logs in: what cannot be served need not be tried.
	ls, err := listen(cfg)
	if err != nil {
		return err
	}
	defer ls.close()

	m := newMetrics()
	var manager *rotation.Manager
	ring, woken := newBell()
	ts, err := startTokens(cfg, db, m.hsm, log, ring)
	if err != nil {
		return err
	}
	defer closing(&err, "the tokens", func() error { return ts.close(context.WithoutCancel(ctx)) })
	defer closeTrail() // while the tokens are there to sign its last checkpoint
	seal.key = ts.key

	state, err := signing.NewState(rights, nil, m.signing)
	if err != nil {
		return err
	}
	service := signing.New(signing.Config{
		Auditor: trail, Metrics: m.signing, Logger: log,
		Tokens: ts.status, RetryPIN: ts.retryPIN, AcceptSerial: ts.acceptSerial, Public: ls.addresses().Public,
	}, state)
	p := &publisher{key: ts.key, seal: seal, service: service, metrics: m.signing, log: log, force: force{cfg: cfg, rights: rights}}
	var toProve <-chan struct{}
	p.onShown, toProve = newBell()
	able := func() bool { return canSign(p.config(), manager.Snapshot()) && p.allShown() && p.allDecrypt() }
	p.pages = jwks.NewPages(func() bool { return able() && ts.up() }) // asked once the doors are open
	mc := managerConfig(cfg, db, ts, log)
	mc.Certify, mc.Publish, mc.Drain, mc.KeepRevocations, mc.Metrics = ts.certify(p.config), p.publish, p.drain, revoked.keep, m.rotation
	if manager, err = rotation.NewManager(mc); err != nil {
		return err
	}
	p.outlive = manager.Outlive
	if err := manager.Start(ctx); err != nil {
		return err
	}
	if err := revoked.revokeAgain(ctx, known, manager, trail); err != nil {
		return err
	}
	reloads := newReloader(opts.Load, manager, p, log)
	service.Config.Operator, service.Config.Reload = acts{manager, ts, p.config}, reloads.reload
	registry, err := m.registry()
	if err != nil {
		return err
	}
	if err := trail.Register(registry); err != nil {
		return err
	}

	p.proveFirst(ctx)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	background.Go(func() { manager.Run(running) })
	background.Go(func() {
		forward(running, woken, func() {
			if err := p.again(); err != nil {
				log.Error("showing what the tokens can do", "error", err)
			}
			manager.Wake()
		})
	})
	background.Go(func() { p.keepProving(running, toProve) })
	systemd := notifier{log, ts.summary}
	background.Go(func() { systemd.run(running) })
	background.Go(func() { onHangup(running, hangups, trail, reloads, systemd) })
	background.Go(func() { announce(running, able, ts, log, ls.addresses(), opts.Ready) })

	servers := map[net.Listener]server{
		ls.socket: door.New(door.Config{Service: service, Metrics: m.door, Logger: log}),
	}
	if ls.public != nil {
		servers[ls.public] = jwks.NewServer(p.pages, log)
	}
	if ls.metrics != nil {
		view := statusView{time.Now(), func() bool { return able() && ts.up() }, ts.status, service, manager}
		page, err := view.page(m, cfg.Listen.StatusPlan)
		if err != nil {
			return err
		}
		background.Go(func() { page.Run(running) })
		servers[ls.metrics] = newMetricsServer(prometheus.Gatherers{registry, ts.workers()}, page, log)
	}
	return serveUntil(ctx, log, servers)
}

// closing puts something away at the end, and keeps the first error.
func closing(err *error, what string, close func() error) {
	if e := close(); e != nil {
		*err = errors.Join(*err, fmt.Errorf("closing %s: %w", what, e))
	}
}

func newPolicy(cfg *config.Config) (*policy.Policy, error) {
	return policy.New(cfg.Rules(), policy.Options{OverflowUID: overflow("uid"), OverflowGID: overflow("gid"), DaemonUID: uint32(os.Getuid()), Signing: cfg.SigningKeysets()})
}

// overflow is the uid or gid by which the kernel shows a process of a user namespace that has
// no mapping here (user_namespaces(7)).
func overflow(kind string) uint32 {
	const usual = 65534
	b, err := os.ReadFile("/proc/sys/kernel/overflow" + kind)
	if err != nil {
		return usual
	}
	uid, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		return usual
	}
	return uint32(uid)
}

// managerConfig is what every command's manager works with. Its outlets are the command's.
func managerConfig(cfg *config.Config, s *store.Bolt, ts tokens, log *slog.Logger) rotation.ManagerConfig {
	rotating := map[string]rotation.Token{}
	var longest time.Duration
	for name, t := range ts {
		rotating[name] = rotation.OnHSM(t)
		longest = max(longest, cmp.Or(cfg.Tokens[name].Limits.Generate, hsm.DefaultGenerate))
	}
	return rotation.ManagerConfig{
		Store: s, Installation: s.Installation(), Keysets: policies(cfg), Tokens: rotating,
		KeyID: jwks.KeyID, Aliases: jwks.Aliases, ChainDates: x5c.Ends,
		Accept:        func(token string) []string { return cfg.Tokens[token].AcceptKeys },
		Logger:        log,
		GenerateLimit: generateSlack(longest),
	}
}

// generateSlack is how long a generation may take whose keys may each take longest: of every
// spec, for a reload may ask for more than there are now.
func generateSlack(longest time.Duration) time.Duration {
	return time.Duration(len(keyspec.All()))*longest + time.Minute
}

// newBell returns a channel that has a word in it once ring was called. ring never blocks, and
// calls that nobody has answered yet are one.
func newBell() (ring func(), heard <-chan struct{}) {
	bell := make(chan struct{}, 1)
	return func() {
		select {
		case bell <- struct{}{}:
		default:
		}
	}, bell
}

// forward calls do for each word that comes, until ctx ends. The tokens speak before the
// manager is there to listen.
func forward(ctx context.Context, words <-chan struct{}, do func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-words:
			do()
		}
	}
}

// canSign reports whether every keyset of a configuration has a key that signs, or one that
// decrypts, or waits for its first certificate from outside.
func canSign(cfg *config.Config, s *rotation.Snapshot) bool {
	for name := range cfg.Keysets {
		k := s.Keysets[name]
		if k == nil || !inService(k) {
			return false
		}
		if awaitsFirstChain(k) { // nobody needs to hold up the others for it
			continue
		}
		if _, active := k.Document.Active(); !active || len(k.Signing) == 0 && !k.Policy.Encrypts() {
			return false
		}
	}
	return true
}

// announce says once that all is ready. Until then the doors answer what they can.
func announce(ctx context.Context, able func() bool, ts tokens, log *slog.Logger, a Addresses, ready func(Addresses)) {
	log.Info("listening", "socket", a.Socket, "public", a.Public, "metrics", a.Metrics)
	if ts.ready(ctx) != nil {
		return
	}
	if !settled(ctx, able) {
		return
	}
	log.Info("ready", "socket", a.Socket, "public", a.Public, "metrics", a.Metrics)
	if ready != nil {
		ready(a)
	}
}

// settled asks done every now and then until it agrees; false if ctx ended before.
func settled(ctx context.Context, done func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
