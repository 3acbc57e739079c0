package daemon

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/jwa"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// publisher shows a snapshot of rotation to the world: as pages to verifiers and as keys
// to callers. Pages come first, since what signs must be published (invariant 1).
type publisher struct {
	cfg     *config.Config
	tokens  tokens
	policy  *policy.Policy
	pages   *jwks.Pages
	service *signing.Service
	metrics *signing.Metrics

	mu   sync.Mutex
	last *rotation.Snapshot
	// made holds what was made of each keyset, so that a change of one among thousands
	// costs the work of one.
	made map[*rotation.Keyset]shown
}

// shown is one keyset as both sides see it.
type shown struct {
	page    *jwks.Page // nil until there is a first generation
	signing signing.Keyset
	keys    []*hsm.Key // that sign
}

// publish is the manager's Publish.
func (p *publisher) publish(s *rotation.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.show(s)
}

// again shows the last snapshot as the tokens are now: which algorithms they do not have
// turns out when they are asked for.
func (p *publisher) again() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return nil
	}
	return p.show(p.last)
}

func (p *publisher) show(s *rotation.Snapshot) error {
	made := make(map[*rotation.Keyset]shown, len(s.Keysets))
	var pages []jwks.Keyset
	var keysets []signing.Keyset
	for _, name := range sortedKeys(s.Keysets) {
		k := s.Keysets[name]
		m, ok := p.made[k]
		if !ok {
			var err error
			if m, err = p.make(k); err != nil {
				return fmt.Errorf("keyset %s: %w", name, err)
			}
		}
		made[k] = m
		if m.page != nil {
			pages = append(pages, jwks.Keyset{Name: name, JWKS: m.page})
		}
		keysets = append(keysets, m.withProblems())
	}
	set, err := jwks.NewSet(pages)
	if err != nil {
		return err
	}
	state, err := signing.NewState(p.policy, keysets, p.metrics)
	if err != nil {
		return err
	}
	p.pages.Swap(set)
	p.service.Swap(state)
	p.made, p.last = made, s
	return nil
}

// withProblems adds what the tokens say of the keys now to what rotation said.
func (s shown) withProblems() signing.Keyset {
	k := s.signing
	problems := []string{}
	if k.Status.Problem != "" {
		problems = append(problems, k.Status.Problem)
	}
	for _, key := range s.keys {
		if p := key.Problem(); p != "" {
			problems = append(problems, p)
		}
	}
	k.Status.Problem = strings.Join(problems, "; ")
	return k
}

func (p *publisher) make(k *rotation.Keyset) (shown, error) {
	ks := p.cfg.Keysets[k.Name] // the zero value where it is not configured: served, not signing
	status := v1.Keyset{Mode: "dynamic", Problem: k.Problem, NextRotation: k.NextRotation(), Generations: []v1.Generation{}}
	out := signing.Keyset{
		Name: k.Name, Purpose: signing.Purpose(ks.Purpose), Issuer: ks.Issuer, AnyIssuer: ks.AnyIssuer,
		MaxTokenLifetime: k.Policy.MaxTokenLifetime, DefaultAlg: ks.DefaultAlgorithm,
		PublishAlgorithms: ks.Publish.Algorithms,
	}
	if !k.Configured {
		out.Purpose = signing.PurposeNone
	}
	var published []jwks.Key
	for _, g := range inOrder(k.Document.Generations) {
		shownGen := v1.Generation{Number: g.Number, State: string(g.State), Since: k.Document.Since(g)}
		if k.Configured { // otherwise nothing is done to it
			shownGen.Until = k.Document.Until(g, k.Policy)
		}
		for _, key := range g.Keys {
			pub, err := x509.ParsePKIXPublicKey(key.Public)
			if err != nil {
				return shown{}, fmt.Errorf("generation %d, key %s in the store: %w", g.Number, key.KID, err)
			}
			published = append(published, jwks.Key{KID: key.KID, Public: pub, Use: jwks.Signature, Chain: key.Chain})
			shownGen.Keys = append(shownGen.Keys, keyStatus(key))
		}
		status.Generations = append(status.Generations, shownGen)
	}
	var handles []*hsm.Key
	for _, key := range k.Signing {
		handle, err := p.handle(key)
		if err != nil {
			return shown{}, fmt.Errorf("key %s: %w", key.KID, err)
		}
		handles = append(handles, handle)
		out.Active = append(out.Active, signing.ActiveKey{KID: key.KID, Spec: key.Spec, Key: handle})
	}
	out.Status = status
	if len(published) == 0 {
		return shown{signing: out, keys: handles}, nil
	}
	page, err := jwks.NewDocument(published, jwks.Options{Algorithms: ks.Publish.Algorithms, X5T: ks.Publish.X5T, MaxAge: k.MaxAge()})
	return shown{page, out, handles}, err
}

// handle is a key that signs, on its token.
func (p *publisher) handle(key rotation.Key) (*hsm.Key, error) {
	pub, err := x509.ParsePKIXPublicKey(key.Public)
	if err != nil {
		return nil, err
	}
	return p.tokens[key.Token].Key(hsm.Ref{ID: key.ID, Label: key.Label}, pub)
}

// inOrder is the order of the page: what signs, what will, what did.
func inOrder(generations []rotation.Generation) []rotation.Generation {
	rank := map[rotation.State]int{rotation.Active: 0, rotation.Pending: 1, rotation.Retired: 2}
	sorted := slices.Clone(generations)
	slices.SortStableFunc(sorted, func(a, b rotation.Generation) int { return rank[a.State] - rank[b.State] })
	return sorted
}

func keyStatus(key rotation.Key) v1.Key {
	status := v1.Key{KID: key.KID, Spec: string(key.Spec), Token: key.Token, ID: fmt.Sprintf("%x", key.ID), Algorithms: []string{}, Lost: key.Lost}
	for _, alg := range jwa.ForSpec(key.Spec) {
		status.Algorithms = append(status.Algorithms, string(alg))
	}
	if len(key.Chain) > 0 {
		if leaf, err := x509.ParseCertificate(key.Chain[0]); err == nil {
			status.NotAfter = leaf.NotAfter
		}
	}
	return status
}

func sortedKeys[V any, M ~map[string]V](m M) []string { return slices.Sorted(maps.Keys(m)) }
