package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"text/tabwriter"

	"keysetd.example/internal/config"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// Init makes the store and the first generations of every keyset: 1 active, 2 pending; of a
// static one it adopts the keys that the configuration names. Nothing that exists is overwritten. The tokens are proven before the store is made, so
// that a mistake in the configuration leaves nothing behind.
//
// Where a token holds keys of another installation for a keyset of ours, a store was most
// likely lost: it goes on only if beside says so.
func Init(ctx context.Context, cfg *config.Config, beside bool, log *slog.Logger, out io.Writer) (err error) {
	if _, err := enter(cfg); err != nil {
		return err
	}
	if err := storeAbsent(cfg.Store.Path); err != nil {
		return err
	}
	if err := notRunning(cfg.Listen.Socket); err != nil {
		return err
	}
	ring, woken := newBell()
	ts, err := startTokens(cfg, nil, nil, log, ring)
	if err != nil {
		return err
	}
	defer closing(&err, "the tokens", func() error { return ts.close(context.WithoutCancel(ctx)) })
	if err := ts.prove(ctx); err != nil {
		return err
	}
	if !beside {
		if err := ts.noOthers(ctx, cfg); err != nil {
			return err
		}
	}
	db, err := store.Create(cfg.Store.Path)
	if err != nil {
		return err
	}
	defer closing(&err, "the store", db.Close)
	for name, t := range ts {
		if err := db.RememberToken(name, t.Status().Info.Serial); err != nil {
			return err
		}
	}
	mc := managerConfig(cfg, db, ts, log)
	mc.Certify = ts.certify(func() *config.Config { return cfg })
	mc.Publish = func(*rotation.Snapshot) error { return nil } // nobody looks yet
	manager, err := rotation.NewManager(mc)
	if err != nil {
		return err
	}
	if err := manager.Start(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	finished := make(chan error, 1)
	go func() { finished <- manager.Run(running) }()
	go forward(running, woken, manager.Wake)
	complete := settled(ctx, func() bool { return initialised(manager.Snapshot()) || problem(manager.Snapshot()) != nil })
	stop()
	<-finished
	if p := problem(manager.Snapshot()); p != nil {
		return fmt.Errorf("the store %s is made but not all keys: %w; mend that, then `keysetd serve` goes on from here", cfg.Store.Path, p)
	}
	if !complete {
		return fmt.Errorf("the store %s is made but not all keys: %w; `keysetd serve` goes on from here", cfg.Store.Path, context.Cause(ctx))
	}
	return printKeys(out, cfg.Store.Path, manager.Snapshot())
}

// storeAbsent refuses to go on where there is a store.
func storeAbsent(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for the store: %w", err)
	}
	return fmt.Errorf("the store %s exists, and nothing is made over it; run `keysetd serve`, which also makes the keys of keysets that are new in the configuration", path)
}

// noOthers refuses tokens on which another installation has keys for a keyset of ours.
func (ts tokens) noOthers(ctx context.Context, cfg *config.Config) error {
	for _, name := range sortedKeys(ts) {
		objects, err := ts[name].Objects(ctx, "")
		if err != nil {
			return err
		}
		for _, o := range objects {
			label, err := rotation.ParseLabel(o.Label)
			if _, ours := cfg.Keysets[label.Keyset]; err == nil && ours {
				return fmt.Errorf("token %s holds keys of installation %s for keyset %s, such as %q: if its store was lost, put the backup at %s, or rebuild it with `keysetd recover`; `keysetd init --beside-others` makes a new installation, which does not publish those keys",
					name, label.Installation, label.Keyset, o.Label, cfg.Store.Path)
			}
		}
	}
	return nil
}

// initialised: every keyset has one generation in use, and one behind it where keysetd makes them; or its first
// one waits for certificates from outside.
func initialised(s *rotation.Snapshot) bool {
	for _, k := range s.Keysets {
		_, active := k.Document.Active()
		_, pending := k.Document.Pending()
		if awaitsFirstChain(k) {
			continue
		}
		if !active || !pending && k.Policy.Static == nil {
			return false
		}
	}
	return true
}

// problem returns what keeps a keyset from being made, or nil.
func problem(s *rotation.Snapshot) error {
	var errs []error
	for _, name := range sortedKeys(s.Keysets) {
		if p := s.Keysets[name].Problem; p != "" {
			errs = append(errs, fmt.Errorf("keyset %s: %s", name, p))
		}
	}
	return errors.Join(errs...)
}

func printKeys(out io.Writer, path string, s *rotation.Snapshot) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Made %s with these keys:\n\nKEYSET\tGENERATION\tSTATE\tSPEC\tKID\n", path)
	for _, name := range sortedKeys(s.Keysets) {
		for _, g := range s.Keysets[name].Document.Generations {
			for _, k := range g.Keys {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", name, g.Number, g.State, k.Spec, k.KID)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, name := range sortedKeys(s.Keysets) {
		if awaitsFirstChain(s.Keysets[name]) {
			fmt.Fprintf(out, "\nKeyset %s signs once its keys have certificates from outside: with `keysetd serve` running, `keysetctl csr show %s` prints\nwhat they ask for, and `keysetctl certificate import %s --kid KID FILE` takes the answer.\n", name, name, name)
		}
	}
	return nil
}
