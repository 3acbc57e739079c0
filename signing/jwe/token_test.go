package jwe

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
)

// softToken is an Unwrapper with its key in memory. Like a token it refuses by hsm.ErrDecrypt.
type softToken struct {
	key     crypto.Signer
	trouble error    // what it says instead of doing anything
	trace   []string // what was asked of it
}

func (s *softToken) Public() crypto.PublicKey { return s.key.Public() }

func (s *softToken) Decrypt(_ context.Context, ciphertext []byte, opts *rsa.OAEPOptions) ([]byte, error) {
	k := s.key.(*rsa.PrivateKey)
	s.trace = append(s.trace, fmt.Sprintf("decrypt %d bytes with %v", len(ciphertext), opts.Hash))
	if s.trouble != nil {
		return nil, s.trouble
	}
	if opts.MGFHash != opts.Hash || len(opts.Label) != 0 {
		return nil, errors.New("OAEP parameters that JOSE does not have")
	}
	if len(ciphertext) != k.Size() || new(big.Int).SetBytes(ciphertext).Cmp(k.N) >= 0 {
		return nil, errors.New("a ciphertext that a token refuses without work reached it")
	}
	plaintext, err := rsa.DecryptOAEP(opts.Hash.New(), nil, k, ciphertext, nil)
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", hsm.ErrDecrypt)
	}
	return plaintext, nil
}

func (s *softToken) ECDH(_ context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	s.trace = append(s.trace, fmt.Sprintf("ecdh on %v", peer.Curve()))
	if s.trouble != nil {
		return nil, s.trouble
	}
	k, err := s.key.(*ecdsa.PrivateKey).ECDH()
	if err != nil {
		return nil, err
	}
	if peer.Curve() != k.Curve() {
		return nil, errors.New("a point of another curve reached the token")
	}
	return k.ECDH(peer)
}

var (
	rsaKey   = sync.OnceValue(newRSA)
	otherRSA = sync.OnceValue(newRSA)
	ecKeys   = map[string]*ecdsa.PrivateKey{"P-256": newEC(elliptic.P256()), "P-384": newEC(elliptic.P384()), "P-521": newEC(elliptic.P521())}
)

func newRSA() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// keysFor are those that alg is for.
func keysFor(a keyAlgorithm) []crypto.Signer {
	if a.isRSA() {
		return []crypto.Signer{rsaKey()}
	}
	return []crypto.Signer{ecKeys["P-256"], ecKeys["P-384"], ecKeys["P-521"]}
}

type fataler interface {
	Helper()
	Fatal(...any)
}

// encrypt has go-jose encrypt.
func encrypt(t fataler, key crypto.PublicKey, alg jose.KeyAlgorithm, enc jose.ContentEncryption, plaintext []byte, headers map[jose.HeaderKey]any) string {
	t.Helper()
	e, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: key, KeyID: "k1"}, &jose.EncrypterOptions{ExtraHeaders: headers})
	if err != nil {
		t.Fatal(err)
	}
	o, err := e.Encrypt(plaintext)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func parse(t *testing.T, compact string) *Message {
	t.Helper()
	m, err := Parse(compact)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
