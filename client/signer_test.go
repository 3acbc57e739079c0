package client_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/internal/keyspec"
)

// verified reports whether sig is what opts promise of the message.
func verified(public crypto.PublicKey, message, sig []byte, opts crypto.SignerOpts) bool {
	digest := message
	if opts.HashFunc() != 0 {
		h := opts.HashFunc().New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	switch key := public.(type) {
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			strict := &rsa.PSSOptions{SaltLength: opts.HashFunc().Size(), Hash: opts.HashFunc()}
			return rsa.VerifyPSS(key, opts.HashFunc(), digest, sig, pss) == nil && rsa.VerifyPSS(key, opts.HashFunc(), digest, sig, strict) == nil
		}
		return rsa.VerifyPKCS1v15(key, opts.HashFunc(), digest, sig) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, sig)
	case ed25519.PublicKey:
		return ed25519.Verify(key, digest, sig)
	}
	return false
}

func pss(hash crypto.Hash, salt int) *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: salt, Hash: hash}
}

// TestSigner: every way of every key, on keysets with kids of their own for an algorithm and without.
func TestSigner(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	ways := map[string][]crypto.SignerOpts{
		"RS256": {
			crypto.SHA256, crypto.SHA384, crypto.SHA512,
			pss(crypto.SHA256, rsa.PSSSaltLengthEqualsHash), pss(crypto.SHA384, rsa.PSSSaltLengthAuto), pss(crypto.SHA512, 64),
		},
		"ES256": {crypto.SHA256}, "ES384": {crypto.SHA384}, "ES512": {crypto.SHA512},
		"EdDSA": {crypto.Hash(0), &ed25519.Options{}},
	}
	ways["RS384"], ways["PS256"] = ways["RS256"], ways["RS256"]
	for _, keyset := range []string{"raw", "any"} { // any has a kid of its own for RS384
		for alg, all := range ways {
			s, err := c.Signer(t.Context(), keyset, alg)
			if err != nil {
				t.Fatal(err)
			}
			for _, opts := range all {
				message := []byte("a message for " + alg)
				digest := message
				if opts.HashFunc() != 0 {
					hash := opts.HashFunc().New()
					hash.Write(message)
					digest = hash.Sum(nil)
				}
				sig, err := s.Sign(rand.Reader, digest, opts)
				if err != nil || !verified(s.Public(), message, sig, opts) {
					t.Errorf("%s %s Sign with %#v: %v", keyset, alg, opts, err)
				}
				sig, err = crypto.SignMessage(s, rand.Reader, message, opts)
				if err != nil || !verified(s.Public(), message, sig, opts) {
					t.Errorf("%s %s SignMessage with %#v: %v", keyset, alg, opts, err)
				}
			}
		}
	}
	if s, err := c.Signer(t.Context(), "any", "RS384"); err != nil || s.KID() != h.KIDs[keyspec.RSA2048]+"-RS384" || s.Chain() != nil {
		t.Errorf("%+v, %v", s, err)
	}
	before := h.KeyLookups.Load()
	s, err := c.Signer(t.Context(), "any", "RS256")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.SignMessage(nil, []byte("m"), crypto.SHA384); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.KeyLookups.Load() - before; n != 2 {
		t.Errorf("asked %d times which key it is; a kid that was found is to be remembered", n)
	}
}

func TestSignerRefuses(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	digest := make([]byte, 32)
	for alg, all := range map[string][]crypto.SignerOpts{
		"RS256": {nil, crypto.Hash(0), crypto.SHA1, crypto.MD5SHA1, pss(crypto.SHA256, 20), pss(0, rsa.PSSSaltLengthAuto)},
		"ES256": {crypto.SHA384, crypto.Hash(0)}, "ES384": {crypto.SHA256},
		"EdDSA": {crypto.SHA512, &ed25519.Options{Hash: crypto.SHA512}, &ed25519.Options{Context: "c"}},
	} {
		s, err := c.Signer(t.Context(), "raw", alg)
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range all {
			if _, err := s.Sign(nil, digest, opts); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s Sign with %#v: %v", alg, opts, err)
			}
			if _, err := s.SignMessage(nil, digest, opts); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s SignMessage with %#v: %v", alg, opts, err)
			}
		}
	}
	s, err := c.Signer(t.Context(), "raw", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(nil, digest[:31], crypto.SHA256); !errors.Is(err, client.ErrBadDigest) {
		t.Errorf("a short digest: %v", err)
	}
	if _, err := s.Certificate(); err == nil {
		t.Error("a certificate out of nothing")
	}
	if _, err := c.Signer(t.Context(), "raw", "HS256"); !errors.Is(err, client.ErrAlgorithmUnavailable) {
		t.Errorf("%v", err)
	}
	jwtOnly, err := c.Signer(t.Context(), "default", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwtOnly.Sign(nil, digest, crypto.SHA256); !errors.Is(err, client.ErrPurposeMismatch) {
		t.Errorf("a keyset of purpose jwt signed a digest: %v", err)
	}
}

// TestSignerIsPinned: a rotation ends it, and a new one is of the new key.
func TestSignerIsPinned(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	for _, alg := range []string{"ES256", "EdDSA"} {
		old, err := c.Signer(t.Context(), "any", alg)
		if err != nil {
			t.Fatal(err)
		}
		sign := func(s *client.Signer) error {
			opts := crypto.SHA256
			if alg == "EdDSA" {
				opts = 0
			}
			_, err := s.SignMessage(nil, []byte("m"), opts)
			return err
		}
		if err := sign(old); err != nil {
			t.Fatal(err)
		}
		h.Rotate(t, "next")
		if err := sign(old); !errors.Is(err, client.ErrKidNotActive) {
			t.Errorf("%s: %v", alg, err)
		}
		next, err := c.Signer(t.Context(), "any", alg)
		if err != nil || next.KID() == old.KID() {
			t.Fatalf("%s: %v", alg, err)
		}
		if err := sign(next); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// TestSignerKeepsItsKeyUnderAnotherKID: an entry of its own for an algorithm changes the kid and not the key.
func TestSignerKeepsItsKeyUnderAnotherKID(t *testing.T) {
	h := clienttest.Start(t)
	s, err := h.Dial(t).Signer(t.Context(), "any", "PS256")
	if err != nil {
		t.Fatal(err)
	}
	for _, algs := range [][]jose.SignatureAlgorithm{{jose.PS256}, nil, {jose.RS256, jose.PS256}} {
		keysets := h.Keysets()
		keysets[2].PublishAlgorithms = algs
		h.Swap(t, keysets)
		if _, err := s.SignMessage(nil, []byte("m"), pss(crypto.SHA256, rsa.PSSSaltLengthEqualsHash)); err != nil {
			t.Errorf("%v: %v", algs, err)
		}
	}
}

// certify gives the key for alg a self-signed certificate, made through keysetd.
func certify(t *testing.T, h *clienttest.House, c *client.Client, keyset, alg string) *x509.Certificate {
	t.Helper()
	s, err := c.Signer(t.Context(), keyset, alg)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "keysetd"}, DNSNames: []string{"tls.example"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.Public(), s)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keysets := h.Keysets()
	for i, ks := range keysets {
		for j, k := range ks.Active {
			if k.KID == s.KID() {
				keysets[i].Active[j].Chain = [][]byte{der}
			}
		}
	}
	h.Swap(t, keysets)
	return certificate
}

// TestSignerInTLS: a server with a token's key, in both versions and with each kind of key; P-384 is
// one that TLS 1.2 would ask for SHA-256.
func TestSignerInTLS(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	for _, alg := range []string{"RS256", "ES256", "ES384", "EdDSA"} {
		roots := x509.NewCertPool()
		roots.AddCert(certify(t, h, c, "raw", alg))
		server := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			s, err := c.Signer(hello.Context(), "raw", alg)
			if err != nil {
				return nil, err
			}
			return s.WithContext(hello.Context()).Certificate()
		}}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if err := handshake(server, &tls.Config{RootCAs: roots, ServerName: "tls.example", MinVersion: version, MaxVersion: version}); err != nil {
				t.Errorf("%s, %s: %v", alg, tls.VersionName(version), err)
			}
		}
	}
}

func handshake(server, peer *tls.Config) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(a, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		a.Close()
		served <- err
	}()
	conn := tls.Client(b, peer)
	err := conn.Handshake()
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	b.Close()
	return errors.Join(err, prefixed("server: %w", <-served))
}

func prefixed(format string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format, err)
}

// TestSignerContext: a caller that gives up is not made to wait.
func TestSignerContext(t *testing.T) {
	h := clienttest.Start(t)
	s, err := h.Dial(t).Signer(t.Context(), "raw", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	cancelled := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cancelled)
	if _, err := s.WithContext(ctx).SignMessage(nil, nil, crypto.SHA256); !errors.Is(err, cancelled) {
		t.Errorf("%v", err)
	}
	if _, err := s.SignMessage(nil, nil, crypto.SHA256); err != nil {
		t.Errorf("its elder: %v", err)
	}
}
