// Package x5c issues and checks the X.509 certificate chains that a JWKS publishes
// beside its keys (RFC 7517 §4.7). It signs with any crypto.Signer and knows nothing
// of tokens, keysets or schedules.
//
// A chain is DER, leaf first; each certificate is followed by the one that signed it.
// The root may be left out.
package x5c

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Parse returns the certificates of chain after checking that the leaf is for pub
// (RFC 7517 §4.7: the first certificate's key must be the JWK's). It checks no dates
// and no signatures; Check does.
func Parse(chain [][]byte, pub crypto.PublicKey) ([]*x509.Certificate, error) {
	certs, err := parse(chain)
	if err != nil {
		return nil, err
	}
	if !equal(certs[0].PublicKey, pub) {
		return nil, fmt.Errorf("the chain's first certificate (%s) is for another key", certs[0].Subject)
	}
	return certs, nil
}

func parse(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("the certificate chain is empty")
	}
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate %d of %d of the chain: %w", i+1, len(chain), err)
		}
		certs[i] = cert
	}
	return certs, nil
}

// raw is the DER of certs.
func raw(certs []*x509.Certificate) [][]byte {
	chain := make([][]byte, len(certs))
	for i, c := range certs {
		chain[i] = c.Raw
	}
	return chain
}

// Check tells whether chain can be published for pub at now: the leaf is for pub, each
// certificate is signed by the next, a last one that is its own issuer is signed by
// itself, and all are within their dates. Trust in the last certificate is not its
// question. A certificate outside its dates gives an x509.CertificateInvalidError whose
// Reason is x509.Expired, so that a caller can tell one to be renewed from one that is wrong.
func Check(chain [][]byte, pub crypto.PublicKey, now time.Time) error {
	certs, err := Parse(chain, pub)
	if err != nil {
		return err
	}
	// The path code of crypto/x509 does the checking (dates, names, CA flags, path lengths,
	// signatures); the last certificate is its root because trust is not in question here.
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	last := certs[len(certs)-1]
	roots.AddCert(last)
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	paths, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("checking the certificate chain of %s: %w", certs[0].Subject, err)
	}
	// Verify finds a path in any order and need not use every certificate.
	if !slices.ContainsFunc(paths, func(path []*x509.Certificate) bool {
		return slices.EqualFunc(path, certs, (*x509.Certificate).Equal)
	}) {
		return fmt.Errorf("the certificate chain of %s is not in order: each certificate must be followed by the one that signed it, and there must be no other", certs[0].Subject)
	}
	// Verify takes a root's own signature on trust. CheckSignatureFrom would ask a
	// self-signed leaf to be a CA.
	if bytes.Equal(last.RawSubject, last.RawIssuer) {
		if err := last.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature); err != nil {
			return fmt.Errorf("checking the signature of the self-signed certificate of %s: %w", last.Subject, err)
		}
	}
	return nil
}
