package jwe

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math/big"

	"keysetd.example/hsm"
)

// Unwrapper is the private key, on its token. An error that wraps hsm.ErrDecrypt says that the
// token does not take this ciphertext or point; other errors are the token's own trouble. What
// it returns belongs to the caller.
type Unwrapper interface {
	// Decrypt decrypts by RSA-OAEP, without a label (RFC 8017 §7.1.2).
	Decrypt(ctx context.Context, ciphertext []byte, opts *rsa.OAEPOptions) ([]byte, error)
	// ECDH returns the x coordinate of the shared point, at the full length of the field
	// (RFC 7518 §4.6, SEC 1 §3.3.1).
	ECDH(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error)
	// Public is the key's public half, an *rsa.PublicKey or *ecdsa.PublicKey.
	Public() crypto.PublicKey
}

// Key returns the content encryption key, as long as Enc wants it; the caller clears it. Where the message
// was not encrypted to this key, or badly, it is one that nobody knows, after the same work: one
// operation of the token and what follows from it. An error is either ErrMalformed, where Alg
// is none of this key's, or the token's.
func (m *Message) Key(ctx context.Context, u Unwrapper) ([]byte, error) {
	switch public := u.Public().(type) {
	case *rsa.PublicKey:
		if m.alg.isRSA() {
			return m.decryptKey(ctx, u, public)
		}
	case *ecdsa.PublicKey:
		if !m.alg.isRSA() {
			return m.agreeKey(ctx, u, public)
		}
	}
	return nil, malformed("its alg is %s, which is not for a key of this type", m.alg.name)
}

// decryptKey has the token decrypt the encrypted key (RFC 7518 §4.3).
func (m *Message) decryptKey(ctx context.Context, u Unwrapper, public *rsa.PublicKey) ([]byte, error) {
	// A token refuses at once what is no number below the modulus. In its place goes one
	// that costs it the whole operation; it is made in any case.
	substitute := random(public.Size())
	substitute[0] = 0 // below every modulus of this length
	ciphertext, valid := m.encryptedKey, len(m.encryptedKey) == public.Size() && new(big.Int).SetBytes(m.encryptedKey).Cmp(public.N) < 0
	if !valid {
		ciphertext = substitute
	}
	key, err := u.Decrypt(ctx, ciphertext, &rsa.OAEPOptions{Hash: m.alg.oaep, MGFHash: m.alg.oaep})
	if err != nil && !errors.Is(err, hsm.ErrDecrypt) {
		return nil, err
	}
	return orElse(key, valid && err == nil, m.standIn("key", m.enc.key)), nil
}

// agreeKey has the token do the Diffie-Hellman, and makes the key of what is agreed (RFC 7518
// §4.6).
func (m *Message) agreeKey(ctx context.Context, u Unwrapper, public *ecdsa.PublicKey) ([]byte, error) {
	own, err := public.ECDH()
	if err != nil {
		return nil, malformed("its alg is %s, which is not for a key on this curve", m.alg.name)
	}
	size := (public.Curve.Params().BitSize + 7) / 8
	// A point of another curve or off this one is no token's to judge (that is how keys were drawn out of
	// implementations: RFC 8725 §2.5). In its place goes one that is on it; it is made in any case.
	substitute, err := own.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	peer, valid := m.agreement.epk.point(own.Curve(), public.Curve.Params().Name, size)
	if !valid {
		peer = substitute.PublicKey()
	}
	z, err := u.ECDH(ctx, peer)
	if err != nil && !errors.Is(err, hsm.ErrDecrypt) {
		return nil, err
	}
	z = orElse(z, valid && err == nil, m.standIn("z", size))
	defer clear(z)
	if m.alg.kek == 0 {
		return m.agreement.derive(z, string(m.enc.name), m.enc.key), nil
	}
	kek := m.agreement.derive(z, string(m.alg.name), m.alg.kek)
	defer clear(kek)
	key, err := m.alg.unwrap(kek, m.encryptedKey)
	return orElse(key, err == nil, m.standIn("key", m.enc.key)), nil
}

// concealed is what stand-ins are made of, for as long as the process lives.
var concealed = random(32)

// standIn is what takes the place of a secret that is not there: nobody can know it, and it is the
// same whenever the message is, as the secret would be.
func (m *Message) standIn(what string, size int) []byte {
	h := hmac.New(sha512.New, concealed)
	for _, part := range [][]byte{[]byte(what), m.header, m.encryptedKey} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	key, err := hkdf.Expand(sha512.New, h.Sum(nil), what, size)
	if err != nil {
		panic(err) // of sizes beyond 255 hashes
	}
	return key
}

// orElse returns secret if it is good and as long as standIn, or else standIn, by the same
// steps. It clears secret.
func orElse(secret []byte, good bool, standIn []byte) []byte {
	key, candidate, keep := standIn, make([]byte, len(standIn)), 0
	if good && len(secret) == len(standIn) {
		keep = 1
	}
	copy(candidate, secret)
	subtle.ConstantTimeCopy(keep, key, candidate)
	clear(candidate)
	clear(secret)
	return key
}

func random(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program first
	return b
}
