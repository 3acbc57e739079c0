package jwe

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// FuzzParse: whatever comes is a message or malformed. A message has one encoding, and opens or does
// not, each time alike.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Compact)
	}
	for _, alg := range keyAlgorithms {
		key := keysFor(alg)[0]
		for _, enc := range contentEncryptions {
			f.Add(encrypt(f, key.Public(), alg.name, enc.name, []byte("content"), map[jose.HeaderKey]any{"apu": "QQ", "cty": "JWT"}))
		}
	}
	f.Fuzz(func(t *testing.T, compact string) {
		m, err := Parse(compact)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%q: %v", compact, err)
			}
			return
		}
		c := m.content
		cut := len(c.sealed) - m.enc.tag
		parts := [][]byte{m.Header(), m.encryptedKey, c.iv, c.sealed[:cut], c.sealed[cut:]}
		texts := make([]string, len(parts))
		for i, p := range parts {
			texts[i] = strict.EncodeToString(p)
		}
		if again := strings.Join(texts, "."); again != compact {
			t.Fatalf("%q is also %q", again, compact)
		}
		token := &softToken{key: keysFor(m.alg)[0]}
		_, err = m.Open(t.Context(), token)
		if len(token.trace) != 1 || err != nil && err != ErrDecrypt {
			t.Fatalf("%q: %v after %q", compact, err, token.trace)
		}
		if _, again := m.Open(t.Context(), token); again != err {
			t.Fatalf("%q: %v, then %v", compact, err, again)
		}
	})
}
