package jwe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"keysetd.example/hsm"
)

// broken is a message that does not open, and why.
type broken struct {
	why     string
	compact string
	trouble error // the token's
}

// with returns compact with one part replaced.
func with(compact string, part int, by []byte) string {
	parts := strings.Split(compact, ".")
	parts[part] = strict.EncodeToString(by)
	return strings.Join(parts, ".")
}

func part(compact string, i int) []byte {
	b, err := decode(strings.Split(compact, ".")[i])
	if err != nil {
		panic(err)
	}
	return b
}

func flipped(compact string, i int) string {
	b := part(compact, i)
	b[len(b)/2] ^= 0x10
	return with(compact, i, b)
}

// withEPK returns compact with a header whose epk is another value.
func withEPK(t *testing.T, compact string, epk any) string {
	t.Helper()
	var header map[string]any
	if err := json.Unmarshal(part(compact, 0), &header); err != nil {
		t.Fatal(err)
	}
	header["epk"] = epk
	b, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return with(compact, 0, b)
}

func brokenContent(compact string) []broken {
	return []broken{
		{why: "an iv of another message", compact: flipped(compact, 2)},
		{why: "another ciphertext", compact: flipped(compact, 3)},
		{why: "a wrong tag", compact: flipped(compact, 4)},
		{why: "a token that refuses", compact: compact, trouble: fmt.Errorf("epoch 3: %w", hsm.ErrDecrypt)},
	}
}

func brokenRSA(t *testing.T, compact string, m *Message) []broken {
	n := len(part(compact, 1))
	all := brokenContent(compact)
	all = append(all,
		broken{why: "a flipped bit", compact: flipped(compact, 1)},
		broken{why: "a number above the modulus", compact: with(compact, 1, bytes.Repeat([]byte{0xff}, n))},
		broken{why: "the modulus", compact: with(compact, 1, rsaKey().N.Bytes())},
		broken{why: "a byte too few", compact: with(compact, 1, part(compact, 1)[1:])},
		broken{why: "a zero before it", compact: with(compact, 1, append([]byte{0}, part(compact, 1)...))},
		broken{why: "a single byte", compact: with(compact, 1, []byte{1})},
		broken{why: "encrypted to another key", compact: encrypt(t, otherRSA().Public(), m.Alg(), m.Enc(), []byte("content"), nil)})
	for _, size := range []int{1, m.enc.key - 1, m.enc.key + 1} {
		c, err := rsa.EncryptOAEP(m.alg.oaep.New(), rand.Reader, &rsaKey().PublicKey, make([]byte, size), nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, broken{why: fmt.Sprintf("a key of %d bytes", size), compact: with(compact, 1, c)})
	}
	c, err := rsa.EncryptOAEP(m.alg.oaep.New(), rand.Reader, &rsaKey().PublicKey, make([]byte, m.enc.key), []byte("label"))
	if err != nil {
		t.Fatal(err)
	}
	return append(all, broken{why: "a label", compact: with(compact, 1, c)})
}

func brokenEC(t *testing.T, compact string, m *Message, key *ecdsa.PrivateKey) []broken {
	all := append(brokenContent(compact), broken{why: "encrypted to another key",
		compact: encrypt(t, newEC(key.Curve).Public(), m.Alg(), m.Enc(), []byte("content"), nil)})
	if m.alg.kek != 0 {
		all = append(all, broken{why: "a flipped bit", compact: flipped(compact, 1)})
	}
	for why, epk := range badEPKs(m, key.Curve) {
		all = append(all, broken{why: "epk: " + why, compact: withEPK(t, compact, epk)})
	}
	return all
}

// badEPKs are made of the epk of a message that opens.
func badEPKs(m *Message, curve elliptic.Curve) map[string]any {
	good := m.agreement.epk
	change := func(f func(e *ephemeral)) ephemeral {
		e := good
		f(&e)
		return e
	}
	x, _ := decode(good.X)
	short, long := x[1:], append([]byte{0}, x...)
	off := bytes.Clone(x)
	off[len(off)-1] ^= 1
	y, _ := decode(good.Y)
	shifted := append(bytes.Clone(x), y[0])
	zero := strict.EncodeToString(make([]byte, len(x)))
	p := strict.EncodeToString(curve.Params().P.FillBytes(make([]byte, len(x))))
	other := elliptic.P384()
	if curve == other {
		other = elliptic.P256()
	}
	otherKey := newEC(other)
	size := (other.Params().BitSize + 7) / 8
	otherX := strict.EncodeToString(otherKey.X.FillBytes(make([]byte, size)))
	otherY := strict.EncodeToString(otherKey.Y.FillBytes(make([]byte, size)))
	return map[string]any{
		"off the curve":                   change(func(e *ephemeral) { e.X = strict.EncodeToString(off) }),
		"the point at infinity":           change(func(e *ephemeral) { e.X, e.Y = zero, zero }),
		"a coordinate that is p":          change(func(e *ephemeral) { e.X = p }),
		"on another curve":                ephemeral{"EC", other.Params().Name, otherX, otherY},
		"on another curve, unsaid":        ephemeral{"EC", curve.Params().Name, otherX, otherY},
		"said to be on another curve":     change(func(e *ephemeral) { e.Crv = other.Params().Name }),
		"on a curve without a name":       change(func(e *ephemeral) { e.Crv = "" }),
		"on a curve nobody knows":         change(func(e *ephemeral) { e.Crv = "secp256k1" }),
		"of another type":                 change(func(e *ephemeral) { e.Kty = "OKP" }),
		"of no type":                      change(func(e *ephemeral) { e.Kty = "" }),
		"a coordinate a byte short":       change(func(e *ephemeral) { e.X = strict.EncodeToString(short) }),
		"a coordinate a byte long":        change(func(e *ephemeral) { e.X = strict.EncodeToString(long) }),
		"coordinates cut elsewhere":       change(func(e *ephemeral) { e.X, e.Y = strict.EncodeToString(shifted), strict.EncodeToString(y[1:]) }),
		"a coordinate in padded base64":   change(func(e *ephemeral) { e.X += "=" }),
		"a coordinate that is not base64": change(func(e *ephemeral) { e.Y = "!" }),
		"no coordinates":                  ephemeral{Kty: "EC", Crv: curve.Params().Name},
		"a coordinate that is a number":   map[string]any{"kty": "EC", "crv": curve.Params().Name, "x": 1, "y": 2},
		"empty":                           map[string]any{},
		"null":                            nil,
		"a number":                        1,
		"a list":                          []any{good},
		"a string":                        "P-256",
	}
}
