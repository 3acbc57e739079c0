// Package signingtest gives tests a signing.Service on software keys, with parts that
// can be made to fail.
package signingtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"keysetd.example/internal/keyspec"
)

// Key is a signing.Key in memory. Its signatures have the form that package hsm's have.
type Key struct {
	Public crypto.PublicKey
	// Calls counts how often it was asked to sign.
	Calls atomic.Int64

	signer crypto.Signer
	mu     sync.Mutex
	before error
	hook   func(context.Context)
}

// NewKey makes a key.
func NewKey(t testing.TB, spec keyspec.Spec) *Key {
	t.Helper()
	signer, err := generate(spec)
	if err != nil {
		t.Fatal(err)
	}
	return KeyOf(signer)
}

// KeyOf is a Key that signs with signer.
func KeyOf(signer crypto.Signer) *Key { return &Key{Public: signer.Public(), signer: signer} }

// One RSA key serves all tests of a process: making one takes longer than any test.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func generate(spec keyspec.Spec) (crypto.Signer, error) {
	switch {
	case spec == keyspec.RSA2048:
		return rsaKey()
	case spec.Curve() != nil:
		return ecdsa.GenerateKey(spec.Curve(), rand.Reader)
	case spec == keyspec.Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("no test key of spec %s", spec)
}

// Private is the key itself.
func (k *Key) Private() crypto.Signer { return k.signer }

// Fail makes Sign return err until it is called with nil.
func (k *Key) Fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = err
}

// Hook is called in each Sign from now on; it may wait, or panic.
func (k *Key) Hook(f func(context.Context)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hook = f
}

// Unsupported is false: these keys sign in every way that their spec can.
func (k *Key) Unsupported(crypto.SignerOpts) bool { return false }

// Sign signs.
func (k *Key) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.Calls.Add(1)
	k.mu.Lock()
	err, hook := k.before, k.hook
	k.mu.Unlock()
	if hook != nil {
		hook(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if key, isEC := k.signer.(*ecdsa.PrivateKey); isEC {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, err
		}
		n := (key.Params().N.BitLen() + 7) / 8
		sig := make([]byte, 2*n)
		r.FillBytes(sig[:n])
		s.FillBytes(sig[n:])
		return sig, nil
	}
	return k.signer.Sign(rand.Reader, digest, opts)
}
