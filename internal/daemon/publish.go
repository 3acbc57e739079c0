package daemon

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"keysetd.example/internal/config"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// publisher shows a snapshot of rotation to the world, by the configuration in force: as
// pages to verifiers and as keys to callers. Pages come first, since what signs must be
// published (invariant 1).
type publisher struct {
	key  func(rotation.Key) (tokenKey, error) // on its token
	seal *sealer
	// outlive is the manager's Outlive.
	outlive func(ctx context.Context, keyset string, generation int, exp time.Time) error
	pages   *jwks.Pages
	service *signing.Service
	metrics *signing.Metrics
	log     *slog.Logger
	proofs  proofs
	// onShown is called when something new is shown. It must not wait.
	onShown func()

	mu   sync.Mutex
	last *rotation.Snapshot // nil before the first
	force
	// fallen are the keysets that are not shown as they should be, and why.
	fallen map[string]string
	// drained is closed when no request goes by what was shown before last.
	drained <-chan struct{}
}

// force is what is in force: a configuration, and what was made by it.
type force struct {
	cfg    *config.Config
	rights *policy.Policy
	// made holds what was made of each keyset, so that a change of one among thousands
	// costs the work of one.
	made map[*rotation.Keyset]shown
}

// tokenKey is a key as its token has it. It signs or decrypts.
type tokenKey interface {
	signing.Key
	signing.Decrypter
	// ProbeDecrypt has it decrypt something by RSA-OAEP with this hash, or with hash 0 by key agreement,
	// unless it did so since the token came up; hsm.ErrUnsupported where it does not.
	ProbeDecrypt(ctx context.Context, hash crypto.Hash) error
	// Problem is why its token refuses it; empty where it does not.
	Problem() string
}

// publish is the manager's Publish. A keyset that cannot be shown falls back, and keeps no other
// from being shown: else nothing could be revoked any more.
func (p *publisher) publish(s *rotation.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.show(s, p.force, false)
}

// publishWith puts another configuration in force together with the snapshot that is shown
// first. If a keyset could not be shown with it that is shown well, or that is new, the one before
// stays, and the error wraps a *notShown.
func (p *publisher) publishWith(cfg *config.Config, rights *policy.Policy) func(*rotation.Snapshot) error {
	return func(s *rotation.Snapshot) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.show(s, force{cfg: cfg, rights: rights}, true)
	}
}

// again shows the last snapshot as the tokens are now: which algorithms they do not have
// turns out when they are asked for.
func (p *publisher) again() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return nil
	}
	made := make(map[*rotation.Keyset]shown, len(p.made))
	for k, m := range p.made {
		made[k] = m.asTokensAre()
	}
	return p.show(p.last, force{p.cfg, p.rights, made}, false)
}

// config is the one in force.
func (p *publisher) config() *config.Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg
}

// snapshot is the one that is shown; nil before the first.
func (p *publisher) snapshot() *rotation.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// allShown reports whether no keyset of the configuration fell back.
func (p *publisher) allShown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.fallen {
		if _, ok := p.cfg.Keysets[name]; ok {
			return false
		}
	}
	return true
}

// drain waits until no request goes by what was shown before the latest swap.
func (p *publisher) drain(ctx context.Context) error {
	p.mu.Lock()
	drained := p.drained
	p.mu.Unlock()
	if drained == nil { // nothing was shown yet
		return nil
	}
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for requests that began before: %w", context.Cause(ctx))
	}
}

// show swaps in a snapshot and what it is shown by: all of it, or on an error nothing. Strictly,
// no keyset may fall back that has not.
func (p *publisher) show(s *rotation.Snapshot, by force, strictly bool) error {
	made := make(map[*rotation.Keyset]shown, len(s.Keysets))
	fallen := map[string]string{}
	var pages []jwks.Keyset
	var keysets []signing.Keyset
	now := time.Now()
	for _, name := range sortedKeys(s.Keysets) {
		k := s.Keysets[name]
		if name == config.AuditKeyset {
			before := p.seal.kid()
			if err := p.seal.show(k); err != nil {
				p.log.Error("the audit log's checkpoints cannot be signed", "error", err)
			}
			if now := p.seal.kid(); now != before && now != "" {
				p.log.Info("this key signs the audit log's checkpoints", "kid", now)
			}
			continue
		}
		m, ok := by.made[k]
		if !ok || m.fellBack != "" { // which may be over
			var err error
			ks := by.cfg.Keysets[name]
			if m, err = p.whole(k, by.cfg, by.rights, now); err != nil {
				if strictly && p.fallen[name] == "" {
					return &notShown{name, err}
				}
				m = fallBack(k, ks, err, now)
				fallen[name] = m.fellBack
			}
		}
		made[k] = m
		if m.pages.JWKS != nil {
			pages = append(pages, m.pages)
		}
		keysets = append(keysets, m.signing)
	}
	set, err := jwks.NewSet(pages)
	if err != nil {
		return err
	}
	state, err := signing.NewState(by.rights, keysets, p.metrics)
	if err != nil {
		return err
	}
	p.pages.Swap(set)
	p.drained = p.service.Swap(state)
	by.made = made
	tellFallen(p.log, p.fallen, fallen)
	p.force, p.last, p.fallen = by, s, fallen
	p.onShown()
	return nil
}

// asTokensAre adds what the tokens say of the keys now to what rotation said.
func (s shown) asTokensAre() shown {
	problems := []string{}
	for _, p := range []string{s.fellBack, s.problem} {
		if p != "" {
			problems = append(problems, p)
		}
	}
	for _, key := range s.keys {
		if p := key.Problem(); p != "" {
			problems = append(problems, p)
		}
	}
	s.signing.Status.Problem = strings.Join(problems, "; ")
	return s
}

func sortedKeys[V any, M ~map[string]V](m M) []string { return slices.Sorted(maps.Keys(m)) }
