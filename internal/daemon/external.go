package daemon

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/jwks"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
)

// acts does what operators ask for: the manager, and what certificates from outside need besides.
type acts struct {
	*rotation.Manager
	tokens  tokens
	inForce func() *config.Config
}

// CSR is part of signing.Operator.
func (o acts) CSR(ctx context.Context, keyset string) (list []v1.CertificateRequest, err error) {
	k, ks := o.Snapshot().Keysets[keyset], o.inForce().Keysets[keyset]
	if k == nil || !k.Policy.External || ks.Certificate.Issuer != config.External {
		return nil, nil
	}
	forecast, err := o.Plan(keyset)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, g := range inOrder(k.Document.Generations) {
		for _, key := range g.Keys {
			if !wantsChain(k, g, key) {
				continue
			}
			csr, err := o.request(ctx, keyset, key, ks)
			if err != nil {
				return nil, fmt.Errorf("key %s of keyset %s: %w", key.KID, keyset, err)
			}
			r := v1.CertificateRequest{
				KID: key.KID, Generation: g.Number, State: string(g.State), CSR: string(x5c.EncodeCSR(csr)),
				// People take their time, and what is to come comes later by that.
				ValidUntil: chainUntil(k.Policy, g, forecast, now).Add(k.Policy.Lead).Add(time.Second - 1).Truncate(time.Second).UTC(),
			}
			switch at := forecastAt(forecast, rotation.StepAwait, g.Number); {
			case !key.Certified.NotAfter.IsZero():
				r.NeededBy = key.Certified.NotAfter
			case g.State == rotation.Active:
				r.NeededBy = now.Truncate(time.Second).UTC()
			default:
				r.NeededBy = at
			}
			list = append(list, r)
		}
	}
	return list, nil
}

// wantsChain reports whether a certificate for a key of g is to be handed in.
func wantsChain(k *rotation.Keyset, g rotation.Generation, key rotation.Key) bool {
	if g.Static || !key.Lost.IsZero() {
		return false
	}
	return slices.Contains(k.Missing, key.KID) || g.State != rotation.Retired && len(key.Chain) == 0
}

// request has a key sign the request for its certificate.
func (o acts) request(ctx context.Context, keyset string, key rotation.Key, ks config.Keyset) ([]byte, error) {
	pub, err := x509.ParsePKIXPublicKey(key.Public)
	if err != nil {
		return nil, err
	}
	token, err := o.tokens.named(key.Token)
	if err != nil {
		return nil, err
	}
	handle, err := token.Key(hsm.Ref{ID: key.ID, Label: key.Label}, pub)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, issueWithin, errCASilent)
	defer cancel()
	return x5c.CSR(certificateOf(keyset, key.KID, ks), handle.Signer(ctx))
}

// ImportCertificate is part of signing.Operator.
func (o acts) ImportCertificate(ctx context.Context, keyset, chain string, act rotation.Act) error {
	k, ks := o.Snapshot().Keysets[keyset], o.inForce().Keysets[keyset]
	if k == nil || !k.Policy.External || ks.Certificate.Issuer != config.External {
		return &rotation.Refusal{Kind: rotation.RefusedBadRequest, Detail: fmt.Sprintf("the certificates of keyset %s do not come from outside; configure `certificate: {issuer: external}` first", keyset)}
	}
	g, key, ok := keyOf(k.Document, act.KID)
	if !ok || g.Static {
		return &rotation.Refusal{Kind: rotation.RefusedUnknownKID, Detail: fmt.Sprintf("keyset %s has no key %q that keysetd made and that was not revoked; `keysetctl csr list %s` shows those that wait for a certificate", keyset, act.KID, keyset)}
	}
	pub, err := x509.ParsePKIXPublicKey(key.Public)
	if err != nil {
		return fmt.Errorf("key %s of keyset %s in the store: %w", key.KID, keyset, err)
	}
	forecast, err := o.Plan(keyset)
	if err != nil {
		return err
	}
	whole, err := complete(chain, keyset, key.KID, pub, ks, chainUntil(k.Policy, g, forecast, time.Now()))
	if err != nil {
		return &v1.Error{Reason: v1.BadRequest, Field: "/chain", Detail: err.Error()}
	}
	return o.SetChain(ctx, keyset, key.KID, whole, act)
}

// keyOf finds the key that has this kid, or has it for an algorithm.
func keyOf(d rotation.Document, kid string) (rotation.Generation, rotation.Key, bool) {
	for _, g := range d.Generations {
		for _, key := range g.Keys {
			if key.KID == kid || slices.Contains(jwks.Aliases(key.KID, key.Spec), kid) {
				return g, key, true
			}
		}
	}
	return rotation.Generation{}, rotation.Key{}, false
}

// complete makes what is published of a chain that was handed in, if it is what the key asked for.
func complete(chain, keyset, kid string, pub crypto.PublicKey, ks config.Keyset, until time.Time) ([][]byte, error) {
	given, err := x5c.ParsePEM([]byte(chain))
	if err != nil {
		return nil, err
	}
	roots, err := ks.Certificate.Pool()
	if err != nil {
		return nil, err
	}
	asked := certificateOf(keyset, kid, ks)
	return x5c.Complete(given, x5c.Want{
		Public: pub, Subject: asked.Subject, CommonName: asked.CommonName, Roots: roots,
		Now: time.Now(), Until: until, KeepRoot: ks.Certificate.Root == config.KeepRoot,
	})
}

// chainUntil is until when a chain is to be valid that is handed in now for a key of g: while the generation is
// active and retained, through the longest freeze. For one that no calendar ends, and one that signs already or no
// longer, any is better than none.
func chainUntil(p rotation.Policy, g rotation.Generation, forecast []rotation.Forecast, now time.Time) time.Time {
	if g.State != rotation.Pending || p.Manual || p.RetainUntilRevoked {
		return now
	}
	active := forecastAt(forecast, rotation.StepActivate, g.Number)
	if active.Before(now) { // it cannot be told
		active = now.Add(p.Lead)
	}
	return active.Add(p.Period + p.Jitter + max(p.Retain, p.MaxTokenLifetime) + p.MaxFreeze + p.MaxAge + p.VerifierCache + p.ClockSkew)
}

// forecastAt is when a step with a generation is to come; zero where none is.
func forecastAt(forecast []rotation.Forecast, kind rotation.StepKind, generation int) time.Time {
	for _, f := range forecast {
		if f.Kind == kind && f.Generation == generation {
			return f.At
		}
	}
	return time.Time{}
}

// awaitsFirstChain reports whether a keyset of which nothing ever signed waits for certificates from outside: all that
// keysetd can do itself is done.
func awaitsFirstChain(k *rotation.Keyset) bool {
	_, active := k.Document.Active()
	_, pending := k.Document.Pending()
	ever := len(k.Document.Revoked) > 0 || slices.ContainsFunc(k.Document.Generations, func(g rotation.Generation) bool { return g.State == rotation.Retired })
	return k.Policy.External && pending && !active && !ever
}
