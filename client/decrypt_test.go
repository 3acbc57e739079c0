package client_test

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/internal/keyspec"
)

func TestDecrypt(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.RSA_OAEP, Key: h.EncKeys[keyspec.RSA2048].Public()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	message, err := encrypter.Encrypt([]byte("a secret"))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := message.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.Decrypt(t.Context(), "enc", &v1.DecryptRequest{JWE: compact})
	if err != nil || reply.Plaintext == nil || *reply.Plaintext != base64.RawURLEncoding.EncodeToString([]byte("a secret")) {
		t.Errorf("%+v, %v", reply, err)
	}
	if _, err := c.Decrypt(t.Context(), "enc", &v1.DecryptRequest{JWE: compact + "AA"}); !errors.Is(err, client.ErrDecryptionFailed) {
		t.Errorf("%v", err)
	}
}

func TestActiveKey(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	for alg, want := range map[string]string{"": h.KIDs[keyspec.P256], "ES384": h.KIDs[keyspec.P384], "RS256": h.KIDs[keyspec.RSA2048]} {
		if reply, err := c.ActiveKey(t.Context(), "default", alg); err != nil || reply.KID != want || len(reply.JWK) == 0 {
			t.Errorf("%q: %+v, %v", alg, reply, err)
		}
	}
	for alg, want := range map[string]error{"nope&x=1": client.ErrAlgorithmUnavailable} {
		if _, err := c.ActiveKey(t.Context(), "default", alg); !errors.Is(err, want) {
			t.Errorf("%q: %v", alg, err)
		}
	}
	if _, err := c.ActiveKey(t.Context(), "nope", "ES256"); !errors.Is(err, client.ErrKeysetUnknown) {
		t.Errorf("%v", err)
	}
}
