package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
)

// certify issues the chain that a keyset's configuration asks for, the one in force then.
func (ts tokens) certify(inForce func() *config.Config) func(context.Context, rotation.CertRequest) ([][]byte, error) {
	return func(ctx context.Context, req rotation.CertRequest) ([][]byte, error) {
		cfg := inForce()
		c := cfg.Keysets[req.Keyset].Certificate
		asked := certificateOf(req.Keyset, req.KID, cfg.Keysets[req.Keyset])
		asked.NotBefore, asked.NotAfter = req.NotBefore, req.NotAfter
		switch c.Issuer {
		case config.SelfSigned:
			return x5c.SelfSigned(asked, req.Signer)
		case config.IssuedByCA:
			chain, err := ts.issue(ctx, cfg.CertificateAuthorities[c.CA], c.Root, asked, req)
			if err != nil {
				return nil, fmt.Errorf("certificate authority %s: %w", c.CA, err)
			}
			return chain, nil
		}
		return nil, nil
	}
}

// certificateOf is what a certificate of a keyset's key is to hold, but for its dates.
func certificateOf(keyset, kid string, ks config.Keyset) x5c.Request {
	return x5c.Request{
		Subject:    x5c.Subject(ks.Certificate.Subject),
		CommonName: x5c.CommonName(keyset, kid),
		Usages:     ks.Certificate.Usages,
		Encrypts:   ks.Purpose == config.Enc,
	}
}

// issueWithin is how long an authority's token has for a signature. The generation has longer, for it makes keys;
// but a token that is away must not hold up what else rotates, nor that somebody is told.
const issueWithin = 10 * time.Second

var errCASilent = errors.New("it did not sign within 10 s")

// issue has an authority whose key is on a token certify a key.
func (ts tokens) issue(ctx context.Context, a config.CertificateAuthority, root config.RootPolicy, asked x5c.Request, req rotation.CertRequest) ([][]byte, error) {
	ca, err := a.CA(root)
	if err != nil {
		return nil, err
	}
	token, err := ts.named(a.Token)
	if err != nil {
		return nil, err
	}
	key, err := token.Key(hsm.Ref{ID: a.ID, Label: a.Label}, ca.Certificate.PublicKey)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, issueWithin, errCASilent)
	defer cancel()
	ca.Signer = key.Signer(ctx)
	chain, err := x5c.Issue(asked, req.Public, ca)
	if err != nil {
		return nil, err
	}
	return chain, x5c.Check(chain, req.Public, time.Now())
}
