package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// TestParseJWK: what go-jose writes is read as the same key.
func TestParseJWK(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []crypto.PublicKey{rsaKey.Public(), edKey}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		for range 20 { // coordinates with leading zeros among them, in the end
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key.Public())
		}
	}
	for _, key := range keys {
		raw, err := (&jose.JSONWebKey{Key: key, KeyID: "k", Use: "sig"}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if got, chain, err := parseJWK(raw); err != nil || !got.Equal(key) || chain != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestParseJWKRefuses(t *testing.T) {
	x := strings.Repeat("A", 43)
	for _, raw := range []string{
		``, `[]`, `{}`, `{"kty":"oct","k":"AA"}`,
		`{"kty":"RSA","n":"AQAB"}`, `{"kty":"RSA","n":"?","e":"AQAB"}`, `{"kty":"RSA","n":"AQAB","e":"_____________w"}`,
		`{"kty":"EC","crv":"P-224","x":"AA","y":"AA"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
		`{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + x + `"}`, // not on the curve
		`{"kty":"OKP","crv":"X25519","x":"` + x + `"}`, `{"kty":"OKP","crv":"Ed25519","x":"AA"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"` + x + `","x5c":["AAAA"]}`,
	} {
		if key, _, err := parseJWK([]byte(raw)); err == nil {
			t.Errorf("%s: %v", raw, key)
		}
	}
}
