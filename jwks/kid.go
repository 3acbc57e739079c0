// Package jwks makes the JSON Web Key Set of a keyset (RFC 7517) and serves it to the
// world: the document, the kids in it, and the public pages.
//
// It knows keys by their public halves and certificates alone; when a key is published
// and when it signs is not its question. Whoever signs asks KIDFor for the kid, so that
// a token's kid and the document's cannot differ.
package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
)

// KeyID is the kid of a key that nobody named: its JWK thumbprint (RFC 7638; RFC 8037 §2
// for Ed25519) with SHA-256, in base64url. A key that is no public key of one of the key
// specs is an error.
func KeyID(pub crypto.PublicKey) (string, error) {
	if _, err := specOf(pub); err != nil {
		return "", fmt.Errorf("computing a key's thumbprint: %w", err)
	}
	sum, err := (&jose.JSONWebKey{Key: pub}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("computing a key's thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// Entry is one appearance of a key in the document.
type Entry struct {
	KID string
	// Algorithm is the entry's alg. It is empty on an RSA key's own entry, which serves
	// all six RSA algorithms.
	Algorithm jose.SignatureAlgorithm
}

// Entries are the names under which a key is published. An EC or Ed25519 key has one, with
// its one algorithm. An RSA key has one without, and for verifiers that insist on a single
// alg one more for each RSA algorithm in algorithms, in their order, named as KIDFor says.
// Other algorithms in the list add nothing.
func Entries(kid string, spec keyspec.Spec, algorithms []jose.SignatureAlgorithm) []Entry {
	if !spec.RSA() {
		return []Entry{{KID: kid, Algorithm: jwa.ForSpec(spec)[0]}}
	}
	entries := []Entry{{KID: kid}}
	for _, alg := range algorithms {
		if jwa.IsRSA(alg) {
			entries = append(entries, Entry{KID: KIDFor(kid, alg, algorithms), Algorithm: alg})
		}
	}
	return entries
}

// KIDFor is the kid that a token signed with alg by the key named kid carries: that of the
// entry for alg where the keyset publishes one (kid-RS384), else kid itself. algorithms
// are those that Entries was given.
func KIDFor(kid string, alg jose.SignatureAlgorithm, algorithms []jose.SignatureAlgorithm) string {
	if jwa.IsRSA(alg) && slices.Contains(algorithms, alg) {
		return kid + "-" + string(alg)
	}
	return kid
}

// Aliases are all kids under which a key of spec can come to stand in a document, its own
// first: whatever other key has one of them could be taken for it.
func Aliases(kid string, spec keyspec.Spec) []string {
	var kids []string
	for _, entry := range Entries(kid, spec, jwa.All()) {
		kids = append(kids, entry.KID)
	}
	return kids
}

// keyManagement is the alg of a key of spec that others encrypt to (RFC 7518 §4.1). An RSA key's
// has SHA-1 in it, which is what every token has.
func keyManagement(spec keyspec.Spec) (jose.KeyAlgorithm, error) {
	switch {
	case spec.RSA():
		return jose.RSA_OAEP, nil
	case spec.Curve() != nil:
		return jose.ECDH_ES, nil
	}
	return "", fmt.Errorf("nobody can encrypt to a key of spec %s; RSA and EC keys are for that", spec)
}

// specOf is the spec of pub, which is a public key (go-jose would as gladly write a private
// one) and, on a curve, a point of it: a token that encodes points wrongly must not get a page.
func specOf(pub crypto.PublicKey) (keyspec.Spec, error) {
	spec, err := keyspec.Of(pub)
	if err != nil {
		return "", err
	}
	if ec, ok := pub.(*ecdsa.PublicKey); ok {
		if _, err := ec.ECDH(); err != nil {
			return "", fmt.Errorf("a %s key that is not on its curve: %w", spec, err)
		}
	}
	return spec, nil
}
