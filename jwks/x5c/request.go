package x5c

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

// Request says what a certificate is to hold.
type Request struct {
	// Subject is required.
	Subject Subject
	// CommonName completes the subject; the function CommonName makes one. Required.
	CommonName string
	// NotBefore and NotAfter bound the validity, both inclusive. A certificate counts in
	// seconds: NotBefore is rounded down and NotAfter up, so that neither cuts anything off.
	// Required, but for a CSR, which has no dates.
	NotBefore, NotAfter time.Time
	// Usages are said beside the one that the key is for. None: that one only.
	Usages []Usage
	// Encrypts is for a key that decrypts and does not sign; only a CA can certify it.
	Encrypts bool
}

// template holds what every issuer of a certificate for a keyset's key would put in. The
// serial number is left to crypto/x509, which takes 159 random bits for it (RFC 5280 §4.1.2.2).
func (req Request) template(pub crypto.PublicKey) (*x509.Certificate, error) {
	subject, err := req.subject()
	if err != nil {
		return nil, err
	}
	notBefore := req.NotBefore.UTC().Truncate(time.Second)
	notAfter := req.NotAfter.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
	if !notBefore.Before(notAfter) {
		return nil, fmt.Errorf("not after %v is not later than not before %v", notAfter.Format(time.RFC3339), notBefore.Format(time.RFC3339))
	}
	keyUsage, extended, err := req.usages(pub)
	if err != nil {
		return nil, err
	}
	keyID, err := subjectKeyID(pub)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		Subject:            subject,
		NotBefore:          notBefore,
		NotAfter:           notAfter,
		KeyUsage:           keyUsage,
		UnknownExtKeyUsage: extended, // x509 writes these as it does those it has names for
		// cA FALSE, said aloud: whoever trusts this certificate trusts one key and not what
		// that key might certify. In a trust store it still verifies itself.
		BasicConstraintsValid: true,
		SubjectKeyId:          keyID,
	}, nil
}

// subject is the distinguished name asked for, once it can stand in a certificate.
func (req Request) subject() (pkix.Name, error) {
	if req.CommonName == "" {
		return pkix.Name{}, errors.New("common name is required")
	}
	if err := checkText("common name", req.CommonName, maxCommonName); err != nil {
		return pkix.Name{}, err
	}
	if err := req.Subject.Validate(); err != nil {
		return pkix.Name{}, err
	}
	return req.Subject.name(req.CommonName), nil
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

// equal tells whether two public keys are one key.
func equal(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
