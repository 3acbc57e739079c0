package jwks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/jwks"
)

// A key alone is as it is in the document, with the alg that it is used with.
func TestJWK(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body, err := jwks.Key{KID: "k", Public: private.Public(), Use: jwks.Encryption}.JWK("ECDH-ES+A128KW")
	if err != nil {
		t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(body, &jwk); err != nil {
		t.Fatal(err)
	}
	if jwk.KeyID != "k" || jwk.Algorithm != "ECDH-ES+A128KW" || jwk.Use != "enc" || !private.PublicKey.Equal(jwk.Key) {
		t.Errorf("%s", body)
	}
	for name, key := range map[string]jwks.Key{
		"a private key":         {KID: "k", Public: private, Use: jwks.Encryption},
		"none":                  {KID: "k", Use: jwks.Encryption},
		"another's certificate": {KID: "k", Public: private.Public(), Use: jwks.Signature, Chain: [][]byte{{1}}},
	} {
		if body, err := key.JWK("ES256"); err == nil {
			t.Errorf("%s: %s", name, body)
		}
	}
}
