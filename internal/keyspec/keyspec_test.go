package keyspec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"
)

// modulus returns a number of exactly this many bits, which is all that Of looks at.
func modulus(bits uint) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int), int(bits)-1, 1), E: 65537}
}

func ec(t *testing.T, c elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &k.PublicKey
}

func TestOf(t *testing.T) {
	for want, pub := range map[Spec]crypto.PublicKey{
		RSA2048: modulus(2048), RSA3072: modulus(3072), RSA4096: modulus(4096),
		P256: ec(t, elliptic.P256()), P384: ec(t, elliptic.P384()), P521: ec(t, elliptic.P521()),
		Ed25519: make(ed25519.PublicKey, ed25519.PublicKeySize),
	} {
		if got, err := Of(pub); got != want || err != nil {
			t.Errorf("Of(%T) is %q, %v; want %s", pub, got, err, want)
		}
		if parsed, err := Parse(string(want)); parsed != want || err != nil {
			t.Errorf("Parse(%q): %q, %v", want, parsed, err)
		}
	}
	for _, other := range []crypto.PublicKey{modulus(2047), modulus(1024), ec(t, elliptic.P224()), *modulus(2048), nil, "rsa-2048"} {
		if got, err := Of(other); err == nil {
			t.Errorf("Of(%T) is %s, want an error", other, got)
		}
	}
}

func TestEverySpecIsOneKind(t *testing.T) {
	if len(All()) != 7 {
		t.Errorf("%d specs", len(All()))
	}
	for _, s := range All() {
		kinds := 0
		for _, is := range []bool{s.RSA(), s.Curve() != nil, s == Ed25519} {
			if is {
				kinds++
			}
		}
		if kinds != 1 {
			t.Errorf("%s is of %d kinds", s, kinds)
		}
	}
}

func TestParseDoesNotRepeatWhatItWasGiven(t *testing.T) {
	for _, s := range []string{"", "rsa", "RSA-2048", "p256", "hunter2"} {
		_, err := Parse(s)
		if err == nil {
			t.Errorf("Parse(%q) succeeded", s)
		} else if !strings.Contains(err.Error(), "rsa-2048, rsa-3072") || s == "hunter2" && strings.Contains(err.Error(), s) {
			t.Errorf("Parse(%q): %v", s, err)
		}
	}
}
