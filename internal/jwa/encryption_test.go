package jwa_test

import (
	"crypto"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
)

func TestDecryption(t *testing.T) {
	all := []jose.KeyAlgorithm{jose.RSA_OAEP, jose.RSA_OAEP_256, jose.ECDH_ES, jose.ECDH_ES_A128KW, jose.ECDH_ES_A256KW}
	if got := jwa.Decryption(); !slices.Equal(got, all) {
		t.Errorf("all are %v", got)
	}
	for _, spec := range keyspec.All() {
		want := all[2:]
		switch {
		case spec.RSA():
			want = all[:2]
		case spec == keyspec.Ed25519:
			want = nil
		}
		if got := jwa.DecryptionBy(spec); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", spec, got, want)
		}
	}
	for i, want := range []crypto.Hash{crypto.SHA1, crypto.SHA256, 0, 0, 0} {
		if got := jwa.DecryptionHash(all[i]); got != want {
			t.Errorf("%s: %v, want %v", all[i], got, want)
		}
	}
}
