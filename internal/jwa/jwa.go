// Package jwa ties JOSE's signature algorithms (RFC 7518 §3, RFC 8037 §3.1) to
// key specs and to the crypto.SignerOpts that package hsm takes. It is the one
// place where the two vocabularies meet.
package jwa

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
)

var rsaAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}

// All returns every signature algorithm that keysetd knows.
func All() []jose.SignatureAlgorithm {
	return append(slices.Clone(rsaAlgorithms), jose.ES256, jose.ES384, jose.ES512, jose.EdDSA)
}

// Parse returns the algorithm that s names.
func Parse(s string) (jose.SignatureAlgorithm, error) {
	if slices.Contains(All(), jose.SignatureAlgorithm(s)) {
		return jose.SignatureAlgorithm(s), nil
	}
	return "", fmt.Errorf("unknown algorithm; the algorithms are %v", All())
}

// ForSpec returns the algorithms that a key of this spec signs with, the usual
// one first. An EC or Ed25519 key has exactly one (RFC 7518 §3.4, RFC 8037 §3.1).
func ForSpec(s keyspec.Spec) []jose.SignatureAlgorithm {
	switch s {
	case keyspec.P256:
		return []jose.SignatureAlgorithm{jose.ES256}
	case keyspec.P384:
		return []jose.SignatureAlgorithm{jose.ES384}
	case keyspec.P521:
		return []jose.SignatureAlgorithm{jose.ES512}
	case keyspec.Ed25519:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if s.RSA() {
		return slices.Clone(rsaAlgorithms)
	}
	return nil
}

// Fits reports whether a key of spec s signs with alg.
func Fits(alg jose.SignatureAlgorithm, s keyspec.Spec) bool {
	if IsRSA(alg) {
		return s.RSA()
	}
	return slices.Contains(ForSpec(s), alg)
}

// IsRSA reports whether alg is one of the six RSA algorithms.
func IsRSA(alg jose.SignatureAlgorithm) bool { return slices.Contains(rsaAlgorithms, alg) }

// Options returns what crypto.Signer takes for alg. PSS signs with a salt as long
// as the hash (RFC 7518 §3.5); EdDSA signs the message itself, so its hash is 0.
func Options(alg jose.SignatureAlgorithm) (crypto.SignerOpts, error) {
	switch alg {
	case jose.RS256, jose.ES256:
		return crypto.SHA256, nil
	case jose.RS384, jose.ES384:
		return crypto.SHA384, nil
	case jose.RS512, jose.ES512:
		return crypto.SHA512, nil
	case jose.PS256:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}, nil
	case jose.PS384:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA384}, nil
	case jose.PS512:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA512}, nil
	case jose.EdDSA:
		return crypto.Hash(0), nil
	}
	return nil, fmt.Errorf("algorithm %q is not one keysetd signs with", alg)
}
