package x5c

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
)

var errEncrypts = errors.New("a key that decrypts cannot sign for itself; have a CA on a token certify it (issuer: ca)")

// SelfSigned issues a certificate for signer's public key, signed by signer, and returns it
// as a chain of one. signer is a key of one of keysetd's specs and keeps crypto.Signer's
// contract: it takes the digest (with Ed25519 the message) and gives ECDSA signatures in
// ASN.1. The signature algorithm follows the key: SHA-256 with RSA (PKCS #1 v1.5), ECDSA
// with the hash of the curve's strength, Ed25519.
//
// The result has been parsed and its signature checked, so a token that signs wrongly
// gives an error here and not a bad page.
func SelfSigned(req Request, signer crypto.Signer) ([][]byte, error) {
	template, err := req.template(signer.Public())
	if err == nil && req.Encrypts {
		err = errEncrypts
	}
	if err != nil {
		return nil, fmt.Errorf("preparing the certificate of %q: %w", req.CommonName, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %q: %w", req.CommonName, err)
	}
	chain := [][]byte{der}
	if err := Check(chain, signer.Public(), template.NotBefore); err != nil {
		return nil, err
	}
	return chain, nil
}
