package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	v1 "keysetd.example/api/v1"
)

// Signer is a crypto.Signer and crypto.MessageSigner for one key of a keyset, so that x509, tls
// and their like sign with it. It is pinned to that key: once the key no longer signs, all of its
// methods that sign return ErrKidNotActive, and whoever uses it asks Client.Signer for the next one.
//
// The options choose the algorithm among those of the key: PKCS #1 v1.5 and PSS for RSA, with a salt
// as long as the hash (PSSSaltLengthAuto gives that, too); ECDSA with the hash of the curve, in
// ASN.1; Ed25519, which takes the message. What keysetd has not is errors.ErrUnsupported.
//
//	s, err := c.Signer(ctx, "web", "ES256")
//	der, err := x509.CreateCertificateRequest(rand.Reader, template, s)
type Signer struct {
	ctx context.Context
	*pinned
}

// pinned is what a Signer shares with those that WithContext made of it.
type pinned struct {
	client *Client
	keyset string
	kid    string
	public publicKey
	chain  [][]byte

	mu sync.Mutex
	// kids are those under which the key signs with an algorithm that it has another kid for.
	kids map[string]string
}

var _ crypto.MessageSigner = (*Signer)(nil)

// Signer returns a Signer for the key that the keyset, of purpose raw or any, uses now for alg.
// ctx is for asking which key that is.
func (c *Client) Signer(ctx context.Context, keyset, alg string) (*Signer, error) {
	kid, public, chain, err := c.activeKey(ctx, keyset, alg)
	if err != nil {
		return nil, err
	}
	return &Signer{ctx: context.Background(), pinned: &pinned{
		client: c, keyset: keyset, kid: kid, public: public, chain: chain, kids: map[string]string{},
	}}, nil
}

func (c *Client) activeKey(ctx context.Context, keyset, alg string) (kid string, public publicKey, chain [][]byte, err error) {
	active, err := c.ActiveKey(ctx, keyset, alg)
	if err != nil {
		return "", nil, nil, err
	}
	if public, chain, err = parseJWK(active.JWK); err != nil {
		return "", nil, nil, fmt.Errorf("reading the key %q of keyset %s: %w", active.KID, keyset, err)
	}
	return active.KID, public, chain, nil
}

// WithContext returns a Signer for the same key whose signatures are bound by ctx, since
// crypto.Signer takes none. Without it they wait as long as the daemon does.
func (s *Signer) WithContext(ctx context.Context) *Signer { return &Signer{ctx, s.pinned} }

// Public returns the public key: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// KID is the key's kid, under the algorithm that the Signer was asked for.
func (s *Signer) KID() string { return s.kid }

// Chain returns the key's certificates in DER, its own first; none where it has none.
func (s *Signer) Chain() [][]byte { return slices.Clone(s.chain) }

// Certificate is the Signer with its chain, for TLS. A server asks for it anew when it fails:
//
//	GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
//		s, err := c.Signer(hello.Context(), "web", "ES256")
//		if err != nil { return nil, err }
//		return s.WithContext(hello.Context()).Certificate()
//	}
func (s *Signer) Certificate() (*tls.Certificate, error) {
	if len(s.chain) == 0 {
		return nil, fmt.Errorf("the key %q of keyset %s has no certificate; give the keyset one in keysetd's configuration", s.kid, s.keyset)
	}
	return &tls.Certificate{Certificate: s.Chain(), PrivateKey: s, SupportedSignatureAlgorithms: schemesOf(s.public)}, nil
}

// Sign signs a digest that was made with opts.HashFunc, or for Ed25519 a message. The
// randomness is the token's own.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	alg, err := algorithmFor(s.public, opts)
	if err != nil {
		return nil, fmt.Errorf("signing with the key %q of keyset %s: %w", s.kid, s.keyset, err)
	}
	encoded := base64.RawURLEncoding.EncodeToString(digest)
	req := v1.SignRequest{Alg: alg}
	if alg == "EdDSA" {
		req.Payload = &encoded
	} else {
		req.Digest = &encoded
	}
	if _, isEC := s.public.(*ecdsa.PublicKey); isEC {
		req.Encoding = "der"
	}
	reply, err := s.sign(s.ctx, req)
	if err != nil {
		return nil, err
	}
	sig, err := base64.RawURLEncoding.DecodeString(reply.Signature)
	if err != nil {
		return nil, fmt.Errorf("reading keysetd's signature: %w", err)
	}
	return sig, nil
}

// SignMessage signs a message, which is hashed here with opts.HashFunc; Ed25519 takes it as it is.
func (s *Signer) SignMessage(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, err := algorithmFor(s.public, opts); err != nil {
		return nil, fmt.Errorf("signing with the key %q of keyset %s: %w", s.kid, s.keyset, err)
	}
	if opts != nil && opts.HashFunc() != 0 {
		h := opts.HashFunc().New()
		h.Write(message)
		message = h.Sum(nil)
	}
	return s.Sign(rand, message, opts)
}

// sign pins the request to the key. Where a keyset publishes algorithms of their own
// (publish.algorithms) an RSA key has another kid under each of them, which may come and go while
// the key signs: so a refusal of the kid is not yet one of the key.
func (p *pinned) sign(ctx context.Context, req v1.SignRequest) (*v1.SignReply, error) {
	req.KID = p.kidFor(req.Alg)
	reply, err := p.client.Sign(ctx, p.keyset, &req)
	if !errors.Is(err, ErrKidNotActive) {
		return reply, err
	}
	kid, public, _, lookup := p.client.activeKey(ctx, p.keyset, req.Alg)
	switch {
	case lookup != nil:
		return nil, fmt.Errorf("%w (nor is it known which key does: %w)", err, lookup)
	case !p.public.Equal(public) || kid == req.KID:
		return nil, err
	}
	p.remember(req.Alg, kid)
	req.KID = kid
	return p.client.Sign(ctx, p.keyset, &req)
}

func (p *pinned) kidFor(alg string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kid, has := p.kids[alg]; has {
		return kid
	}
	return p.kid
}

func (p *pinned) remember(alg, kid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kids[alg] = kid
}
