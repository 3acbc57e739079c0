package jwe

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
)

// watch has everything that m does with a secret write itself into the token's trace.
func watch(m *Message, token *softToken) {
	if unwrap := m.alg.unwrap; unwrap != nil {
		m.alg.unwrap = func(kek, wrapped []byte) ([]byte, error) {
			token.trace = append(token.trace, fmt.Sprintf("unwrap %d bytes with %d", len(wrapped), len(kek)))
			return unwrap(kek, wrapped)
		}
	}
	aead := m.enc.aead
	m.enc.aead = func(key []byte) (cipher.AEAD, error) {
		token.trace = append(token.trace, fmt.Sprintf("cipher with %d bytes", len(key)))
		a, err := aead(key)
		return watchedAEAD{a, token}, err
	}
}

type watchedAEAD struct {
	cipher.AEAD
	token *softToken
}

func (w watchedAEAD) Open(dst, nonce, sealed, aad []byte) ([]byte, error) {
	w.token.trace = append(w.token.trace, fmt.Sprintf("open %d bytes", len(sealed)))
	return w.AEAD.Open(dst, nonce, sealed, aad)
}

// TestSameWork: whatever is wrong with a message, what is done with it is what is done with
// one that opens, and the error is the same one.
func TestSameWork(t *testing.T) {
	for _, alg := range keyAlgorithms {
		for _, enc := range contentEncryptions {
			if enc.name != jose.A128GCM && enc.name != jose.A256CBC_HS512 {
				continue // one of each kind
			}
			for _, key := range keysFor(alg) {
				compact := encrypt(t, key.Public(), alg.name, enc.name, []byte("content"), nil)
				token := &softToken{key: key}
				m := parse(t, compact)
				watch(m, token)
				if _, err := m.Open(t.Context(), token); err != nil {
					t.Fatal(err)
				}
				want := token.trace
				if n := len(want); n != 3 && (alg.kek == 0 || n != 4) {
					t.Fatal(want)
				}
				var all []broken
				if ec, ok := key.(*ecdsa.PrivateKey); ok {
					all = brokenEC(t, compact, m, ec)
				} else {
					all = brokenRSA(t, compact, m)
				}
				for _, b := range all {
					token := &softToken{key: key, trouble: b.trouble}
					m := parse(t, b.compact)
					watch(m, token)
					got, err := m.Open(t.Context(), token)
					if err != ErrDecrypt || got != nil {
						t.Errorf("%s, %s, %s: %q, %v", alg.name, enc.name, b.why, got, err)
					}
					if !slices.Equal(token.trace, want) {
						t.Errorf("%s, %s, %s: the work was\n%q, that of a message that opens\n%q", alg.name, enc.name, b.why, token.trace, want)
					}
				}
			}
		}
	}
}

// TestStandIn: what stands in for a key that cannot be had has its length and is no key that a sender
// could have foreseen; and as with a key that is there, who asks twice gets the same.
func TestStandIn(t *testing.T) {
	for _, alg := range keyAlgorithms {
		key := keysFor(alg)[0]
		compact := encrypt(t, key.Public(), alg.name, jose.A256CBC_HS512, []byte("content"), nil)
		good := parse(t, compact)
		var all []broken
		if ec, ok := key.(*ecdsa.PrivateKey); ok {
			all = brokenEC(t, compact, good, ec)
		} else {
			all = brokenRSA(t, compact, good)
		}
		for _, b := range all {
			if bytes.Equal(part(b.compact, 0), part(compact, 0)) && bytes.Equal(part(b.compact, 1), part(compact, 1)) && b.trouble == nil ||
				alg.kek == 0 && !alg.isRSA() && strings.Contains(b.why, "another key") {
				continue // its key is as it should be, or with plain ECDH-ES as good as random: another one
			}
			m := parse(t, b.compact)
			token := &softToken{key: key, trouble: b.trouble}
			one, err := m.Key(t.Context(), token)
			again, err2 := m.Key(t.Context(), token)
			if err != nil || err2 != nil || len(one) != 64 || !bytes.Equal(one, again) {
				t.Errorf("%s, %s: %x, %v, then %x, %v", alg.name, b.why, one, err, again, err2)
			}
			ours := concealed
			concealed = random(len(ours)) // as another process has it
			other, err := m.Key(t.Context(), token)
			if concealed = ours; err != nil || len(other) != 64 || bytes.Equal(one, other) {
				t.Errorf("%s, %s: %x, %v in every process", alg.name, b.why, other, err)
			}
		}
	}
}

// TestPadding: content whose tag is right and whose padding is not, which only someone who has the key can
// make.
func TestPadding(t *testing.T) {
	token := &softToken{key: ecKeys["P-256"]}
	compact := encrypt(t, token.Public(), jose.ECDH_ES, jose.A128CBC_HS256, make([]byte, 15), nil)
	key, err := parse(t, compact).Key(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for last, want := range map[byte]error{1: nil, 0: ErrDecrypt, 2: ErrDecrypt, 17: ErrDecrypt} {
		iv, ciphertext := part(compact, 2), make([]byte, aes.BlockSize)
		ciphertext[15] = last
		block, err := aes.NewCipher(key[16:])
		if err != nil {
			t.Fatal(err)
		}
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(ciphertext, ciphertext)
		aad := strings.Split(compact, ".")[0]
		mac := hmac.New(sha256.New, key[:16]) // RFC 7518 §5.2.2.1
		mac.Write(binary.BigEndian.AppendUint64(slices.Concat([]byte(aad), iv, ciphertext), uint64(8*len(aad))))
		m := parse(t, with(with(compact, 3, ciphertext), 4, mac.Sum(nil)[:16]))
		if _, err := m.Open(t.Context(), token); err != want {
			t.Errorf("padding %d: %v", last, err)
		}
	}
}

// TestTrouble: what is the token's fault is not hidden as a message that does not decrypt.
func TestTrouble(t *testing.T) {
	for _, alg := range keyAlgorithms {
		key := keysFor(alg)[0]
		m := parse(t, encrypt(t, key.Public(), alg.name, jose.A128GCM, nil, nil))
		for _, trouble := range []error{hsm.ErrUnavailable, hsm.ErrUnsupported, context.Canceled} {
			token := &softToken{key: key, trouble: trouble}
			if got, err := m.Open(t.Context(), token); !errors.Is(err, trouble) || got != nil {
				t.Errorf("%s: %q, %v", alg.name, got, err)
			}
			if got, err := m.Key(t.Context(), token); !errors.Is(err, trouble) || got != nil {
				t.Errorf("%s: %q, %v", alg.name, got, err)
			}
		}
	}
}

// TestOtherKeyType: a key of another type is a public fact, and the token is not asked.
func TestOtherKeyType(t *testing.T) {
	for alg, key := range map[jose.KeyAlgorithm]crypto.Signer{jose.RSA_OAEP: ecKeys["P-256"], jose.ECDH_ES: rsaKey(), jose.ECDH_ES_A256KW: newEC(elliptic.P224())} {
		own := crypto.Signer(ecKeys["P-256"])
		if alg == jose.RSA_OAEP {
			own = rsaKey()
		}
		token := &softToken{key: key}
		m := parse(t, encrypt(t, own.Public(), alg, jose.A128GCM, nil, nil))
		if _, err := m.Open(t.Context(), token); !errors.Is(err, ErrMalformed) || len(token.trace) != 0 {
			t.Errorf("%s: %v after %q", alg, err, token.trace)
		}
	}
}

// TestSecretsCleared: what the token returned does not stay in memory.
func TestSecretsCleared(t *testing.T) {
	for _, good := range []bool{true, false} {
		for _, size := range []int{4, 5, 6} {
			secret := []byte("abcde")
			key := orElse(secret, good, random(size))
			if len(key) != size || bytes.Equal(key, []byte("abcde")) != (good && size == 5) || !bytes.Equal(secret, make([]byte, 5)) {
				t.Errorf("good %v, size %d: %q, and %q is left", good, size, key, secret)
			}
		}
	}
}
