package rotation_test

import (
	"fmt"
	"slices"
	"time"

	"keysetd.example/rotation"
)

// audience is all verifiers of one keyset that there could be: whoever may hold a body holds
// it. It hears of each swap of the page and the signers, knows nothing else of the Manager, and tells
// which of the invariants 1, 2 and 6 does not hold. What verifiers look up is a kid, or the kid of an
// algorithm's own.
type audience struct {
	shown   *rotation.Keyset // nil: no page yet
	policy  rotation.Policy  // the last one that is known
	stale   time.Time        // until when bodies of all pages before this one may be used
	without map[string]time.Time
	uses    map[string]*use
	revoked map[string]bool
	bare    map[string]time.Time // by kid: until when a page without its chain may be used
	accepts bool                 // an operator accepts that what signs may be unknown
}

// use is what a key or an algorithm's own kid was used for.
type use struct {
	last   time.Time // it signed until then
	life   time.Duration
	retain time.Duration
	until  time.Time // a watermark
}

func newAudience() *audience {
	return &audience{without: map[string]time.Time{}, uses: map[string]*use{}, bare: map[string]time.Time{}, revoked: map[string]bool{}}
}

// published is what verifiers can look up on the page of k.
func published(k *rotation.Keyset) (names []string) {
	if k == nil {
		return nil
	}
	for _, g := range k.Published() {
		for _, key := range g.Keys {
			names = append(names, key.KID)
		}
	}
	if len(names) > 0 {
		for _, alg := range k.Document.PublishedAlgorithms() {
			names = append(names, string(alg))
		}
	}
	return names
}

// signers is what tokens signed under k may name.
func signers(k *rotation.Keyset) (names []string) {
	if k == nil || len(k.Signing) == 0 {
		return nil
	}
	for _, key := range k.Signing {
		names = append(names, key.KID)
	}
	for _, alg := range k.Document.SigningAlgorithms() {
		names = append(names, string(alg))
	}
	return names
}

// show swaps the page and the signers.
func (a *audience) show(k *rotation.Keyset, now time.Time) error {
	if k.Configured {
		a.policy = k.Policy
	}
	slack := a.policy.ClockSkew + a.policy.VerifierCache
	before := published(a.shown)
	if len(before) > 0 {
		if until := now.Add(a.shown.MaxAge() + slack); until.After(a.stale) {
			a.stale = until
		}
	}
	signed := signers(a.shown)
	for _, name := range signed {
		a.uses[name].last = now
	}
	if err := a.chains(a.shown, k, now); err != nil {
		return err
	}
	a.shown = k
	for _, name := range published(k) {
		if !slices.Contains(before, name) {
			a.without[name] = a.stale
		}
		if a.revoked[name] {
			return fmt.Errorf("%v: key %s was revoked and is on the page", now, name)
		}
	}
	for _, name := range signers(k) {
		u := a.uses[name]
		if u == nil {
			u = &use{}
			a.uses[name] = u
		}
		u.last, u.life, u.retain = now, max(u.life, k.Guaranteed()), a.policy.Retain
		if !slices.Contains(published(k), name) {
			return fmt.Errorf("%v: %s signs and is not on the page", now, name)
		}
		if stale := a.without[name]; now.Before(stale) && !slices.Contains(signed, name) && !a.accepts && !a.policy.Encrypts() {
			return fmt.Errorf("%v: %s signs, a body without it is used until %v", now, name, stale)
		}
	}
	for _, r := range k.Document.Revoked {
		a.revoked[r.KID] = true
	}
	for _, name := range before {
		if slices.Contains(published(k), name) || a.revoked[name] || a.uses[name] == nil || a.policy.Encrypts() {
			continue
		}
		u := a.uses[name]
		if end := later(u.last.Add(max(u.retain, u.life+a.policy.ClockSkew)), u.until); now.Before(end) {
			return fmt.Errorf("%v: %s left the page; it signed until %v, and what it signed may be valid until %v", now, name, u.last, end)
		}
	}
	return a.mute(k, signed, now)
}

// mute tells if nothing signs any more for no reason.
func (a *audience) mute(k *rotation.Keyset, signed []string, now time.Time) error {
	if len(signed) == 0 || len(k.Signing) > 0 || !k.Configured || !k.Document.Removed.IsZero() || len(k.Document.Revoked) > 0 {
		return nil
	}
	active, _ := k.Document.Active()
	if slices.ContainsFunc(active.Keys, func(key rotation.Key) bool {
		return k.Policy.RequireChain && len(key.Chain) == 0 || !key.Lost.IsZero() || a.policy.Token != key.Token
	}) {
		return nil
	}
	return fmt.Errorf("%v: nothing signs any more", now)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
