package jwks_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"

	"keysetd.example/internal/keyspec"
)

var (
	keysMu sync.Mutex
	keys   = map[keyspec.Spec]crypto.Signer{}
)

// key returns this test run's one key of a spec: RSA-4096 takes seconds to make.
func key(t testing.TB, spec keyspec.Spec) crypto.Signer {
	t.Helper()
	keysMu.Lock()
	defer keysMu.Unlock()
	if k, ok := keys[spec]; ok {
		return k
	}
	k, err := newKey(spec)
	if err != nil {
		t.Fatal(err)
	}
	keys[spec] = k
	return k
}

func newKey(spec keyspec.Spec) (crypto.Signer, error) {
	switch {
	case spec.RSA():
		return rsa.GenerateKey(rand.Reader, spec.Bits())
	case spec.Curve() != nil:
		return ecdsa.GenerateKey(spec.Curve(), rand.Reader)
	}
	_, k, err := ed25519.GenerateKey(rand.Reader)
	return k, err
}
