package jwe

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

// TestRoundTrip: what go-jose encrypts opens, for every alg, enc and key, and with any bit
// of any part turned it does not.
func TestRoundTrip(t *testing.T) {
	for _, alg := range keyAlgorithms {
		for _, enc := range contentEncryptions {
			for _, key := range keysFor(alg) {
				name := string(alg.name) + " " + string(enc.name)
				if ec, ok := key.(*ecdsa.PrivateKey); ok {
					name += " " + ec.Params().Name
				}
				token := &softToken{key: key}
				t.Run(name, func(t *testing.T) {
					for _, n := range []int{0, 16} {
						plaintext := bytes.Repeat([]byte{0x10}, n)
						compact := encrypt(t, key.Public(), alg.name, enc.name, plaintext, nil)
						m := parse(t, compact)
						if m.Alg() != alg.name || m.Enc() != enc.name || m.KID() != "k1" {
							t.Fatal(m.Alg(), m.Enc(), m.KID())
						}
						for range 2 { // a Message is not used up
							if got, err := m.Open(t.Context(), token); err != nil || !bytes.Equal(got, plaintext) {
								t.Fatalf("%q, %v", got, err)
							}
						}
					}
				})
			}
		}
	}
}

func TestFlippedBit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alg := rapid.SampledFrom(keyAlgorithms).Draw(t, "alg")
		enc := rapid.SampledFrom(contentEncryptions).Draw(t, "enc")
		key := rapid.SampledFrom(keysFor(alg)).Draw(t, "key")
		plaintext := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "plaintext")
		parts := strings.Split(encrypt(t, key.Public(), alg.name, enc.name, plaintext, nil), ".")
		i := rapid.IntRange(0, len(parts)-1).Draw(t, "part")
		part, err := decode(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if len(part) == 0 {
			return // ECDH-ES has no encrypted key
		}
		part[rapid.IntRange(0, len(part)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		parts[i] = strict.EncodeToString(part)
		m, err := Parse(strings.Join(parts, "."))
		if i == 0 && errors.Is(err, ErrMalformed) { // as a header it may not even be JSON
			return
		}
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		if got, err := m.Open(t.Context(), &softToken{key: key}); err != ErrDecrypt || got != nil {
			if i == 0 && errors.Is(err, ErrMalformed) { // the alg became another one
				return
			}
			t.Errorf("part %d: %q, %v", i, got, err)
		}
	})
}

// TestFlippedCharacter turns each bit of the encoded text: a message has one encoding only.
func TestFlippedCharacter(t *testing.T) {
	token := &softToken{key: ecKeys["P-256"]}
	compact := encrypt(t, token.Public(), jose.ECDH_ES_A128KW, jose.A128GCM, []byte("x"), nil)
	for i := range len(compact) {
		for bit := range 8 {
			text := []byte(compact)
			text[i] ^= 1 << bit
			m, err := Parse(string(text))
			if err == nil {
				_, err = m.Open(t.Context(), token)
			}
			if err != ErrDecrypt && !errors.Is(err, ErrMalformed) {
				t.Fatalf("bit %d of character %d turned: %v", bit, i, err)
			}
		}
	}
}
