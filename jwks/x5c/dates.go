package x5c

import (
	"crypto/x509"
	"fmt"
	"time"
)

// Ends returns the first and the last moment, both inclusive, at which every certificate
// of chain is valid. A chain that has no such moment is an error.
func Ends(chain [][]byte) (notBefore, notAfter time.Time, err error) {
	certs, err := parse(chain)
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	first, last := span(certs)
	if first.NotBefore.After(last.NotAfter) {
		return time.Time{}, time.Time{}, fmt.Errorf("the certificates of the chain are never valid together: %s begins at %s, %s has ended at %s",
			first.Subject, first.NotBefore.Format(time.RFC3339), last.Subject, last.NotAfter.Format(time.RFC3339))
	}
	return first.NotBefore, last.NotAfter, nil
}

// span returns the certificate that begins last and the one that ends first.
func span(certs []*x509.Certificate) (begins, ends *x509.Certificate) {
	begins, ends = certs[0], certs[0]
	for _, c := range certs[1:] {
		if c.NotBefore.After(begins.NotBefore) {
			begins = c
		}
		if c.NotAfter.Before(ends.NotAfter) {
			ends = c
		}
	}
	return begins, ends
}
