package jwa

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"encoding/base64"
	"math/big"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
)

func newKey(t *testing.T, s keyspec.Spec) crypto.Signer {
	t.Helper()
	var k crypto.Signer
	var err error
	switch {
	case s.RSA():
		k, err = rsa.GenerateKey(rand.Reader, s.Bits())
	case s.Curve() != nil:
		k, err = ecdsa.GenerateKey(s.Curve(), rand.Reader)
	default:
		_, k, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign does what a token does: ECDSA as r‖s.
func sign(t *testing.T, k crypto.Signer, digest []byte, opts crypto.SignerOpts) []byte {
	t.Helper()
	if ec, ok := k.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, ec, digest)
		if err != nil {
			t.Fatal(err)
		}
		size := (ec.Params().BitSize + 7) / 8
		return append(fill(r, size), fill(s, size)...)
	}
	sig, err := k.Sign(rand.Reader, digest, opts)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func fill(n *big.Int, size int) []byte { return n.FillBytes(make([]byte, size)) }

// TestEveryAlgorithm: what Options says makes a JWS that go-jose, which knows
// RFC 7518 on its own, verifies.
func TestEveryAlgorithm(t *testing.T) {
	seen := map[jose.SignatureAlgorithm]bool{}
	for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.P256, keyspec.P384, keyspec.P521, keyspec.Ed25519} {
		k := newKey(t, spec)
		for _, alg := range ForSpec(spec) {
			seen[alg] = true
			b64 := base64.RawURLEncoding.EncodeToString
			input := b64([]byte(`{"alg":"`+string(alg)+`"}`)) + "." + b64([]byte("payload"))
			opts, err := Options(alg)
			if err != nil {
				t.Fatal(err)
			}
			digest := []byte(input)
			if h := opts.HashFunc(); h != 0 {
				w := h.New()
				w.Write(digest)
				digest = w.Sum(nil)
			}
			jws, err := jose.ParseSignedCompact(input+"."+b64(sign(t, k, digest, opts)), []jose.SignatureAlgorithm{alg})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jws.Verify(k.Public()); err != nil {
				t.Errorf("%s with %s: %v", alg, spec, err)
			}
		}
	}
	for _, alg := range All() {
		if !seen[alg] {
			t.Errorf("no spec signs %s", alg)
		}
		if got, err := Parse(string(alg)); got != alg || err != nil {
			t.Errorf("Parse(%s): %s, %v", alg, got, err)
		}
	}
}

func TestFits(t *testing.T) {
	for _, s := range keyspec.All() {
		fits := 0
		for _, alg := range All() {
			if Fits(alg, s) {
				fits++
			}
		}
		if want := len(ForSpec(s)); fits != want || s.RSA() != (want == 6) {
			t.Errorf("%d algorithms fit %s, ForSpec has %d", fits, s, want)
		}
	}
}

func TestNotOurs(t *testing.T) {
	for _, alg := range []string{"none", "HS256", "ES256K", "", "rs256"} {
		if _, err := Parse(alg); err == nil {
			t.Errorf("Parse(%q) succeeded", alg)
		}
		if _, err := Options(jose.SignatureAlgorithm(alg)); err == nil {
			t.Errorf("Options(%q) succeeded", alg)
		}
	}
}
