// Package keyspec names the kinds of key that keysetd makes and uses. It knows
// nothing of tokens or of JOSE; both sides speak of keys in its words.
package keyspec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
)

// Spec is a key type together with its size or curve, as the configuration,
// labels and status pages write it.
type Spec string

// The seven key specs.
const (
	RSA2048 Spec = "rsa-2048"
	RSA3072 Spec = "rsa-3072"
	RSA4096 Spec = "rsa-4096"
	P256    Spec = "p-256"
	P384    Spec = "p-384"
	P521    Spec = "p-521"
	Ed25519 Spec = "ed25519"
)

var all = []Spec{RSA2048, RSA3072, RSA4096, P256, P384, P521, Ed25519}

// All returns every spec, smallest RSA key first.
func All() []Spec { return slices.Clone(all) }

// Parse returns the spec that s names. The error lists the names there are.
func Parse(s string) (Spec, error) {
	if slices.Contains(all, Spec(s)) {
		return Spec(s), nil
	}
	names := make([]string, len(all))
	for i, k := range all {
		names[i] = string(k)
	}
	return "", fmt.Errorf("unknown key spec; the key specs are %s", strings.Join(names, ", "))
}

// Bits is the length of an RSA modulus in bits, and 0 for other types.
func (s Spec) Bits() int {
	switch s {
	case RSA2048:
		return 2048
	case RSA3072:
		return 3072
	case RSA4096:
		return 4096
	}
	return 0
}

// RSA reports whether s is an RSA key.
func (s Spec) RSA() bool { return s.Bits() != 0 }

// Curve is the NIST curve of an ECDSA key, and nil for other types.
func (s Spec) Curve() elliptic.Curve {
	switch s {
	case P256:
		return elliptic.P256()
	case P384:
		return elliptic.P384()
	case P521:
		return elliptic.P521()
	}
	return nil
}

// Of returns the spec of a public key. A key of a type or size that is none of
// the seven is an error, never taken for a neighbour of it.
func Of(pub crypto.PublicKey) (Spec, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		for _, s := range all {
			if s.Bits() == k.N.BitLen() {
				return s, nil
			}
		}
		return "", fmt.Errorf("an RSA key of %d bits is none of the key specs", k.N.BitLen())
	case *ecdsa.PublicKey:
		for _, s := range all {
			if s.Curve() != nil && s.Curve() == k.Curve {
				return s, nil
			}
		}
		return "", fmt.Errorf("an EC key on curve %s is none of the key specs", k.Params().Name)
	case ed25519.PublicKey:
		return Ed25519, nil
	}
	return "", fmt.Errorf("a public key of type %T is none of the key specs", pub)
}
