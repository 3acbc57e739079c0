package x5c

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

// Request says what a certificate is to hold. Every field is required.
type Request struct {
	Subject Subject
	// CommonName completes the subject; the function CommonName makes one.
	CommonName string
	// NotBefore and NotAfter bound the validity, both inclusive. A certificate counts in
	// seconds: NotBefore is rounded down and NotAfter up, so that neither cuts anything off.
	NotBefore, NotAfter time.Time
}

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

// template holds what every issuer of a certificate for a signing key would put in. The
// serial number is left to crypto/x509, which takes 159 random bits for it (RFC 5280 §4.1.2.2).
func (req Request) template(pub crypto.PublicKey) (*x509.Certificate, error) {
	if req.CommonName == "" {
		return nil, errors.New("common name is required")
	}
	if err := checkText("common name", req.CommonName, maxCommonName); err != nil {
		return nil, err
	}
	if err := req.Subject.Validate(); err != nil {
		return nil, err
	}
	notBefore := req.NotBefore.UTC().Truncate(time.Second)
	notAfter := req.NotAfter.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
	if !notBefore.Before(notAfter) {
		return nil, fmt.Errorf("not after %v is not later than not before %v", notAfter.Format(time.RFC3339), notBefore.Format(time.RFC3339))
	}
	keyID, err := subjectKeyID(pub)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		Subject:   req.Subject.name(req.CommonName),
		NotBefore: notBefore,
		NotAfter:  notAfter,
		// Not contentCommitment: it would say that somebody stands by what was signed and
		// cannot deny it (RFC 5280 §4.2.1.3), and a daemon does not know that.
		KeyUsage: x509.KeyUsageDigitalSignature,
		// cA FALSE, said aloud: whoever trusts this certificate trusts one key and not what
		// that key might certify. In a trust store it still verifies itself.
		BasicConstraintsValid: true,
		SubjectKeyId:          keyID,
	}, nil
}

// subjectKeyID is the leftmost 160 bits of the SHA-256 of the public key's bits
// (RFC 7093 §2 method 1).
func subjectKeyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("decoding the public key: %w", err)
	}
	sum := sha256.Sum256(spki.Bits.Bytes)
	return sum[:20], nil
}
