package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/config"
	"keysetd.example/rotation"
)

// reloader puts the configuration file in force again, all of it or nothing.
type reloader struct {
	// load reads the file as it was read at the start.
	load      func() (*config.Config, error)
	manager   reconfigurer
	publisher *publisher
	log       *slog.Logger
	// turn has a word in it while one reload is under way.
	turn chan struct{}
}

// reconfigurer is what a reload needs of *rotation.Manager.
type reconfigurer interface {
	Preview(rotation.Change) ([]rotation.Effect, error)
	Reconfigure(ctx context.Context, c rotation.Change, publish func(*rotation.Snapshot) error) ([]rotation.Effect, error)
}

func newReloader(load func() (*config.Config, error), manager reconfigurer, p *publisher, log *slog.Logger) *reloader {
	return &reloader{load: load, manager: manager, publisher: p, log: log, turn: make(chan struct{}, 1)}
}

// reload reads the file and puts it in force, for by ("uid 1001"); a dry run tells what that
// would change. What it does not do is a *v1.Error, and then nothing has changed.
func (r *reloader) reload(ctx context.Context, by string, req *v1.ReloadRequest) (*v1.ReloadReply, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another reload to end: %w", context.Cause(ctx))
	}
	cfg, err := r.load()
	if err != nil {
		return nil, badConfiguration(err)
	}
	before := r.publisher.config()
	if fixed := cfg.NeedsRestart(before); len(fixed) > 0 {
		return nil, badConfiguration(fmt.Errorf("%s: changed in the file, and read at a start only; restart keysetd, or change it back", strings.Join(fixed, ", ")))
	}
	rights, err := newPolicy(cfg)
	if err != nil {
		return nil, badConfiguration(err)
	}
	left := leftOut(r.publisher.snapshot(), cfg, req.Remove) // as it is before
	change := rotation.Change{Keysets: policies(cfg), Remove: req.Remove, Act: rotation.Act{By: by, Why: "the configuration was reloaded"}}
	var effects []rotation.Effect
	if req.DryRun {
		effects, err = r.manager.Preview(change)
	} else {
		effects, err = r.manager.Reconfigure(ctx, change, r.publisher.publishWith(cfg, rights))
	}
	if refused, ok := errors.AsType[*rotation.Refusal](err); ok {
		return nil, badConfiguration(refused)
	}
	if refused, ok := errors.AsType[*notShown](err); ok {
		return nil, badConfiguration(refused)
	}
	if err != nil {
		return nil, fmt.Errorf("putting the configuration in force: %w", err)
	}
	reply := &v1.ReloadReply{Applied: !req.DryRun, Changes: changes(before, cfg, effects, left...)}
	if reply.Applied {
		r.tell(by, reply.Changes)
	}
	return reply, nil
}

func (r *reloader) tell(by string, changes []v1.KeysetChange) {
	r.log.Info("the configuration is loaded", "by", by, "changes", len(changes))
	for _, c := range changes {
		attrs := []any{"change", c.Change}
		if c.Keyset != "" {
			attrs = append(attrs, "keyset", c.Keyset)
		}
		if !c.At.IsZero() {
			attrs = append(attrs, "at", c.At)
		}
		r.log.Info("the configuration changes something", attrs...)
	}
}

func badConfiguration(err error) *v1.Error {
	return &v1.Error{Reason: v1.BadConfiguration, Detail: err.Error(), Cause: err}
}

// policies are what a configuration says of the rotation of each keyset.
func policies(cfg *config.Config) map[string]rotation.Policy {
	keysets := make(map[string]rotation.Policy, len(cfg.Keysets))
	for name, k := range cfg.Keysets {
		keysets[name] = k.Policy(name)
	}
	keysets[config.AuditKeyset] = cfg.Audit.Policy()
	return keysets
}
