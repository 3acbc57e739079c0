package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/jwa"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
	"keysetd.example/signing"
)

// shown is one keyset as both sides see it.
type shown struct {
	pages   jwks.Keyset // JWKS is nil where none is served
	signing signing.Keyset
	problem string     // that rotation has with it
	keys    []tokenKey // that sign or decrypt
	// unwrapping are the keys that decrypt, and those that will.
	unwrapping []provenKey
	// fellBack is why it is not shown as it should be; empty where it is.
	fellBack string
}

// present makes a keyset what both sides see, by the configuration. Where that does not have
// it, it is published as stored, and does not sign.
func (p *publisher) present(k *rotation.Keyset, cfg *config.Config, now time.Time) (shown, error) {
	ks := cfg.Keysets[k.Name]
	out := silent(k, ks, now)
	if inService(k) {
		s := &out.signing
		s.Purpose, s.AnyIssuer, s.DefaultAlg = signing.Purpose(ks.Purpose), ks.AnyIssuer, ks.DefaultAlgorithm
		s.Header, s.Assertion = headerOf(k.Name, ks, cfg.PublicURL), assertionOf(ks)
		if k.Policy.Encrypts() {
			if err := p.decrypt(&out, k, cfg); err != nil {
				return shown{}, err
			}
		} else if err := p.sign(&out, k); err != nil {
			return shown{}, err
		}
	}
	var err error
	out.pages, err = pages(k, ks, cfg.PublicURL)
	return out, err
}

// silent is a keyset that neither signs nor is published.
func silent(k *rotation.Keyset, ks config.Keyset, now time.Time) shown {
	out := shown{problem: k.Problem, signing: signing.Keyset{
		Name: k.Name, Purpose: signing.PurposeNone, Issuer: ks.Issuer, Revoked: revokedKIDs(k.Document), Status: status(k, now),
		Records: func() []signing.KeyRecord { return records(k.Document) },
	}}
	if gone := farewell(k, out.signing.Status.Generations); gone != "" {
		out.problem = strings.TrimSuffix(gone+"; "+k.Problem, "; ")
	}
	return out
}

// farewell tells of a keyset that was removed when the last of its keys goes; "" of any other.
func farewell(k *rotation.Keyset, generations []v1.Generation) string {
	if k.Document.Removed.IsZero() {
		return ""
	}
	var last time.Time
	for _, g := range generations {
		if g.Until.After(last) {
			last = g.Until
		}
	}
	const removed = "it was removed from the configuration; "
	switch {
	case k.Policy.RetainUntilRevoked && len(generations) > 0:
		return removed + "its keys stay on the page until they are revoked"
	case last.IsZero(): // none is left, or when they go is not put down yet
		return removed + "its keys leave the page"
	}
	return removed + "its keys leave the page at " + last.UTC().Format(time.RFC3339)
}

// inService reports whether a keyset is for callers at all.
func inService(k *rotation.Keyset) bool { return k.Configured && k.Document.Removed.IsZero() }

// sign adds what callers need of a keyset that signs.
func (p *publisher) sign(out *shown, k *rotation.Keyset) error {
	s := &out.signing
	s.MaxTokenLifetime = k.Policy.MaxTokenLifetime
	s.Guaranteed = max(k.Guaranteed(), 1) // 0 would say that all of max_token_lifetime is
	s.Outlive = func(ctx context.Context, generation int, exp time.Time) error {
		return p.outlive(ctx, k.Name, generation, exp)
	}
	s.PublishAlgorithms = k.Document.SigningAlgorithms()
	s.Coming, s.ComingKIDs = comingAlgorithms(k), comingKIDs(k)
	s.Status.Coming = comingStatus(k)
	active, _ := k.Document.Active()
	for _, key := range k.Signing {
		handle, err := p.key(key)
		if err != nil {
			return fmt.Errorf("key %s: %w", key.KID, err)
		}
		out.keys = append(out.keys, handle)
		s.Active = append(s.Active, signing.ActiveKey{KID: key.KID, Spec: key.Spec, Key: handle, Public: handle.Public(), Generation: active.Number, Chain: key.Chain})
	}
	return nil
}

// pages are the public pages of a keyset. It has no JWKS before the first keys: what a verifier
// could cache would be a body without them, and they sign at once (invariant 1). Once there was
// one, it says also that there are no keys: a verifier that got an error instead would
// trust those that it had. A keyset that decrypts has none without a key to encrypt to.
func pages(k *rotation.Keyset, ks config.Keyset, publicURL string) (jwks.Keyset, error) {
	keys, err := published(k)
	if err != nil {
		return jwks.Keyset{}, err
	}
	made, opts, err := pagesOf(keys, k.MaxAge(), k, ks)
	if err != nil || made.JWKS == nil {
		return jwks.Keyset{}, err
	}
	if made.Certificates, err = jwks.NewCertificates(k.Name, keys, opts); err != nil {
		return jwks.Keyset{}, err
	}
	if ks.Discovery != nil {
		made.Discovery, err = jwks.NewDiscovery(jwks.Discovery{Keyset: k.Name, Issuer: ks.Issuer, PublicURL: publicURL, Members: ks.Discovery.Members()}, keys, opts)
	}
	return made, err
}

// pagesOf is the JWKS alone, and by what it was made.
func pagesOf(keys []jwks.Key, maxAge time.Duration, k *rotation.Keyset, ks config.Keyset) (made jwks.Keyset, opts jwks.Options, err error) {
	made.Name = k.Name
	if len(keys) == 0 && (!inService(k) || k.Policy.Encrypts() || k.Document.StaleUntil.IsZero()) {
		return made, opts, nil
	}
	opts = jwks.Options{
		Algorithms: k.Document.PublishedAlgorithms(),
		X5T:        ks.Publish.X5T || ks.Purpose == "", // without a configuration as by default
		MaxAge:     maxAge,
		FreshUntil: k.FreshUntil(),
	}
	made.JWKS, err = jwks.NewDocument(keys, opts)
	return made, opts, err
}

// published are the keys on the page. What each is for, its own record tells, also where no
// configuration does any more.
func published(k *rotation.Keyset) (keys []jwks.Key, err error) {
	for _, g := range inOrder(k.Published()) {
		for _, key := range g.Keys {
			use := jwks.Signature
			if key.Usage == hsm.Decrypt || key.Usage == hsm.Derive {
				use = jwks.Encryption
			}
			pub, err := x509.ParsePKIXPublicKey(key.Public)
			if err != nil {
				return nil, fmt.Errorf("generation %d, key %s in the store: %w", g.Number, key.KID, err)
			}
			keys = append(keys, jwks.Key{KID: key.KID, Public: pub, Use: use, Chain: key.Chain, Active: g.State == rotation.Active})
		}
	}
	return keys, nil
}

// inOrder is the order of the page: what signs, what will, what did.
func inOrder(generations []rotation.Generation) []rotation.Generation {
	rank := map[rotation.State]int{rotation.Active: 0, rotation.Pending: 1, rotation.Retired: 2}
	sorted := slices.Clone(generations)
	slices.SortStableFunc(sorted, func(a, b rotation.Generation) int { return rank[a.State] - rank[b.State] })
	return sorted
}

// revokedKIDs are the kids of all keys that were revoked, with those that they could have had
// for an algorithm.
func revokedKIDs(d rotation.Document) (kids []string) {
	for _, r := range d.Revoked {
		kids = append(kids, jwks.Aliases(r.KID, r.Spec)...)
	}
	return kids
}

// status is what callers are told of a keyset. Its algorithms are for signing.NewState to say.
func status(k *rotation.Keyset, now time.Time) v1.Keyset {
	d := k.Document
	s := v1.Keyset{Mode: mode(k), NextRotation: k.NextRotation(), Revoked: lastRevoked(d), Warnings: k.Warnings, Generations: []v1.Generation{}}
	if d.FrozenUntil.After(now) {
		s.FrozenUntil = d.FrozenUntil
	}
	for _, g := range inOrder(d.Generations) {
		gen := v1.Generation{Number: g.Number, State: string(g.State), Since: d.Since(g)}
		if k.Configured || !d.Removed.IsZero() { // otherwise nothing is done to it
			gen.Until = d.Until(g, k.Policy)
		}
		for _, key := range g.Keys {
			gen.Keys = append(gen.Keys, keyStatus(key))
		}
		s.Generations = append(s.Generations, gen)
	}
	return s
}

// mode of a keyset: who makes its keys, or that it is removed.
func mode(k *rotation.Keyset) string {
	active, _ := k.Document.Active()
	switch {
	case !k.Document.Removed.IsZero():
		return "removed"
	case k.Configured && k.Policy.Static != nil, !k.Configured && active.Static:
		return string(config.Static)
	}
	return string(config.Dynamic)
}

// maxRevoked is how many revoked keys a status has. The history has them all.
const maxRevoked = 10

func lastRevoked(d rotation.Document) (keys []v1.RevokedKey) {
	for _, r := range slices.Backward(d.Revoked) {
		if len(keys) == maxRevoked {
			break
		}
		keys = append(keys, v1.RevokedKey{KID: r.KID, At: r.At, By: r.By, Reason: r.Why, Kept: r.Kept})
	}
	return keys
}

func keyStatus(key rotation.Key) v1.Key {
	status := v1.Key{KID: key.KID, Spec: string(key.Spec), Token: key.Token, ID: fmt.Sprintf("%x", key.ID), Algorithms: []string{}, Lost: key.Lost}
	if key.Usage == "" || key.Usage == hsm.Sign {
		for _, alg := range jwa.ForSpec(key.Spec) {
			status.Algorithms = append(status.Algorithms, string(alg))
		}
	}
	if len(key.Chain) > 0 {
		if leaf, err := x509.ParseCertificate(key.Chain[0]); err == nil {
			status.NotAfter = leaf.NotAfter
		}
	}
	return status
}
