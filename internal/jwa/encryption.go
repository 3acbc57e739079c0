package jwa

import (
	"crypto"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
)

var (
	oaepAlgorithms = []jose.KeyAlgorithm{jose.RSA_OAEP, jose.RSA_OAEP_256}
	ecdhAlgorithms = []jose.KeyAlgorithm{jose.ECDH_ES, jose.ECDH_ES_A128KW, jose.ECDH_ES_A256KW}
)

// Decryption returns every key management algorithm (RFC 7518 §4.1) that keysetd decrypts by.
func Decryption() []jose.KeyAlgorithm { return slices.Concat(oaepAlgorithms, ecdhAlgorithms) }

// DecryptionBy returns those that a key of this spec may decrypt by, the one that its JWKS
// entry names first. None for Ed25519.
func DecryptionBy(s keyspec.Spec) []jose.KeyAlgorithm {
	switch {
	case s.RSA():
		return slices.Clone(oaepAlgorithms)
	case s.Curve() != nil:
		return slices.Clone(ecdhAlgorithms)
	}
	return nil
}

// DecryptionHash is the hash of RSA-OAEP by alg (RFC 7518 §4.3); 0 for key agreement, in which the
// token takes no part but Diffie-Hellman.
func DecryptionHash(alg jose.KeyAlgorithm) crypto.Hash {
	switch alg {
	case jose.RSA_OAEP:
		return crypto.SHA1
	case jose.RSA_OAEP_256:
		return crypto.SHA256
	}
	return 0
}
