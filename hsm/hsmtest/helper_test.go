package hsmtest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"os"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/internal/keyspec"
)

// The test binary is also the worker, and crypto11's process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "crypto11" {
		os.Exit(witness())
	}
	hsmtest.Main(m)
}

// within is a context for what must not take longer.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start starts a token that is closed at the end of the test.
func start(t *testing.T, cfg hsm.Config) *hsm.Token {
	t.Helper()
	token, err := hsm.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := token.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return token
}

func request(label string, spec keyspec.Spec) hsm.GenerateRequest {
	id := make([]byte, 16)
	rand.Read(id)
	return hsm.GenerateRequest{ID: id, Label: label, Spec: spec, Usage: hsm.Sign}
}

// generate makes a key and returns it ready for use.
func generate(t *testing.T, token *hsm.Token, spec keyspec.Spec) (*hsm.Key, hsm.Ref) {
	t.Helper()
	r := request("test/"+string(spec), spec)
	o, err := token.Generate(within(t, 20*time.Second), r)
	if err != nil {
		t.Fatal(err)
	}
	ref := hsm.Ref{ID: r.ID, Label: r.Label}
	return keyOf(t, token, o, ref), ref
}

// keyOf is the key that ref names, with o's public half.
func keyOf(t *testing.T, token *hsm.Token, o hsm.Object, ref hsm.Ref) *hsm.Key {
	t.Helper()
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Key(ref, pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs something by SHA-256 and verifies it.
func sign(ctx context.Context, key *hsm.Key) error {
	digest := sha256.Sum256([]byte(rand.Text()))
	sig, err := key.Signer(ctx).Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	if !verifies(key.Public(), digest[:], sig) {
		return errors.New("the signature does not verify")
	}
	return nil
}

// verifies uses the standard library alone: PKCS #1 v1.5, or ECDSA in ASN.1.
func verifies(pub crypto.PublicKey, digest, sig []byte) bool {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest, sig) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, sig)
	}
	return false
}
