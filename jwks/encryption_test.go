package jwks_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

// Keys that others encrypt to: one entry each, that go-jose encrypts to with its alg.
func TestDocumentEncryption(t *testing.T) {
	var keys []jwks.Key
	for _, spec := range keyspec.All() {
		if spec != keyspec.Ed25519 {
			k := published(t, spec, true)
			k.Use = jwks.Encryption
			keys = append(keys, k)
		}
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(document(t, keys, jwks.Options{Algorithms: jwa.All(), MaxAge: time.Minute}), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != len(keys) {
		t.Fatalf("%d entries for %d keys", len(set.Keys), len(keys))
	}
	for i, entry := range set.Keys {
		spec, err := keyspec.Of(keys[i].Public)
		if err != nil {
			t.Fatal(err)
		}
		want := "ECDH-ES"
		if spec.RSA() {
			want = "RSA-OAEP"
		}
		if entry.Use != "enc" || entry.Algorithm != want || entry.KeyID != keys[i].KID || len(entry.Certificates) != 1 {
			t.Errorf("%s: use %q, alg %q, kid %q, %d certificates", spec, entry.Use, entry.Algorithm, entry.KeyID, len(entry.Certificates))
		}
		to := jose.Recipient{Algorithm: jose.KeyAlgorithm(entry.Algorithm), Key: entry.Key, KeyID: entry.KeyID}
		encrypter, err := jose.NewEncrypter(jose.A256GCM, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		message, err := encrypter.Encrypt([]byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := message.Decrypt(key(t, spec)); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, %v", spec, got, err)
		}
	}
}
