package signingtest

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// EncKey is a signing.Decrypter in memory. What does not decrypt is hsm.ErrDecrypt, as with a token.
type EncKey struct {
	// Calls counts how often it was asked to decrypt or to agree.
	Calls atomic.Int64

	private     crypto.Signer
	mu          sync.Mutex
	unsupported map[crypto.Hash]bool
	err         error
	hook        func(context.Context)
}

// NewEncKey makes a key of a spec that decrypts. RSA keys are one and the same, as those that sign.
func NewEncKey(t testing.TB, spec keyspec.Spec) *EncKey {
	t.Helper()
	private, err := generate(spec)
	if err != nil {
		t.Fatal(err)
	}
	return EncKeyOf(private)
}

// EncKeyOf is an EncKey with this private key, of RSA or on a curve.
func EncKeyOf(private crypto.Signer) *EncKey {
	return &EncKey{private: private, unsupported: map[crypto.Hash]bool{}}
}

// Public returns the public half.
func (k *EncKey) Public() crypto.PublicKey { return k.private.Public() }

// Unsupport makes the key one that does not decrypt by RSA-OAEP with this hash, or with hash 0 by key
// agreement.
func (k *EncKey) Unsupport(hash crypto.Hash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unsupported[hash] = true
}

// DecryptUnsupported is part of signing.Decrypter.
func (k *EncKey) DecryptUnsupported(hash crypto.Hash) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unsupported[hash]
}

// Fail makes the key return err until it is called with nil.
func (k *EncKey) Fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// Hook is called whenever the key is used from now on; it may wait, or panic.
func (k *EncKey) Hook(f func(context.Context)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hook = f
}

func (k *EncKey) used(ctx context.Context) error {
	k.Calls.Add(1)
	k.mu.Lock()
	err, hook := k.err, k.hook
	k.mu.Unlock()
	if hook != nil {
		hook(ctx)
	}
	if err != nil {
		return err
	}
	return ctx.Err()
}

// Decrypt is part of signing.Decrypter.
func (k *EncKey) Decrypt(ctx context.Context, ciphertext []byte, opts *rsa.OAEPOptions) ([]byte, error) {
	if err := k.used(ctx); err != nil {
		return nil, err
	}
	private, ok := k.private.(*rsa.PrivateKey)
	if !ok || opts.MGFHash != opts.Hash || len(opts.Label) > 0 {
		return nil, fmt.Errorf("%w: RSA-OAEP of a key of type %T with %+v", hsm.ErrUnsupported, k.private, opts)
	}
	plaintext, err := private.Decrypt(nil, ciphertext, opts)
	if err != nil {
		return nil, hsm.ErrDecrypt
	}
	return plaintext, nil
}

// ECDH is part of signing.Decrypter.
func (k *EncKey) ECDH(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	if err := k.used(ctx); err != nil {
		return nil, err
	}
	private, ok := k.private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: ECDH of a key of type %T", hsm.ErrUnsupported, k.private)
	}
	own, err := private.ECDH()
	if err != nil {
		return nil, err
	}
	if peer.Curve() != own.Curve() {
		return nil, errors.New("a point of another curve reached the key")
	}
	return own.ECDH(peer)
}
