package hsm_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// within is a context for what must not take longer.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start starts a token that is closed at the end of the test at the latest.
func start(t *testing.T, cfg hsm.Config) *hsm.Token {
	t.Helper()
	token, err := hsm.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeToken(t, token) })
	return token
}

// ready is start, and the token is up.
func ready(t *testing.T, cfg hsm.Config) *hsm.Token {
	t.Helper()
	token := start(t, cfg)
	if err := token.Ready(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	return token
}

func closeToken(t *testing.T, token *hsm.Token) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := token.Close(ctx); err != nil {
		t.Error(err)
	}
}

func request(label string, spec keyspec.Spec) hsm.GenerateRequest {
	id := make([]byte, 16)
	rand.Read(id)
	return hsm.GenerateRequest{ID: id, Label: label, Spec: spec, Usage: hsm.Sign}
}

// generate makes a key and returns it ready for use.
func generate(t *testing.T, token *hsm.Token, spec keyspec.Spec) *hsm.Key {
	t.Helper()
	r := request("test/"+string(spec), spec)
	o, err := token.Generate(within(t, time.Minute), r)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Key(hsm.Ref{ID: r.ID, Label: r.Label}, pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type algorithm struct {
	name string
	opts crypto.SignerOpts
}

// algorithms are all ways in which a key of pub signs.
func algorithms(pub crypto.PublicKey) []algorithm {
	if _, ok := pub.(ed25519.PublicKey); ok {
		return []algorithm{{"Ed25519", crypto.Hash(0)}}
	}
	var all []algorithm
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		all = append(all, algorithm{h.String(), h})
		if _, ok := pub.(*rsa.PublicKey); ok {
			all = append(all, algorithm{"PSS " + h.String(), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}})
		}
	}
	return all
}

// random is something to sign.
func random(opts crypto.SignerOpts) []byte {
	b := make([]byte, 100)
	if h := opts.HashFunc(); h != 0 {
		b = b[:h.Size()]
	}
	rand.Read(b)
	return b
}

// verify uses the standard library alone.
func verify(t *testing.T, pub crypto.PublicKey, opts crypto.SignerOpts, digest, sig []byte) {
	t.Helper()
	ok := false
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if o, isPSS := opts.(*rsa.PSSOptions); isPSS {
			ok = rsa.VerifyPSS(k, o.Hash, digest, sig, o) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(k, opts.HashFunc(), digest, sig) == nil
		}
	case *ecdsa.PublicKey:
		n := (k.Params().BitSize + 7) / 8
		ok = len(sig) == 2*n && ecdsa.Verify(k, digest, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:]))
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, digest, sig)
	}
	if !ok {
		t.Errorf("the signature %s does not verify", hex.EncodeToString(sig))
	}
}

// sign signs something and verifies it.
func sign(t *testing.T, ctx context.Context, key *hsm.Key) error {
	t.Helper()
	opts := algorithms(key.Public())[0].opts
	digest := random(opts)
	sig, err := key.Sign(ctx, digest, opts)
	if err == nil {
		verify(t, key.Public(), opts, digest, sig)
	}
	return err
}
