package x5c

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
)

// minRSA is the shortest RSA modulus that may stand in a chain, in bits (NIST SP 800-131A).
const minRSA = 2048

// signatures are the algorithms that may sign the certificates of a chain: none with MD5,
// SHA-1 or DSA.
var signatures = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
}

// checkKey refuses a certificate of a key that is too short.
func checkKey(c *x509.Certificate) error {
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < minRSA {
		return fmt.Errorf("the certificate of %s is for an RSA key of %d bits; %d is the least", c.Subject, k.N.BitLen(), minRSA)
	}
	return nil
}

// checkSignature refuses a certificate signed with an algorithm that is not safe any more.
func checkSignature(c *x509.Certificate) error {
	if !slices.Contains(signatures, c.SignatureAlgorithm) {
		return fmt.Errorf("the certificate of %s is signed with %s; ask the CA for one signed with SHA-256 or better", c.Subject, c.SignatureAlgorithm)
	}
	return nil
}

// selfSigned tells whether c is signed with its own key, and not with another key of its
// name, as when a CA changes keys.
func selfSigned(c *x509.Certificate) bool {
	return c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// withoutRoot is chain less a self-signed certificate at its end. A leaf stays.
func withoutRoot(chain []*x509.Certificate) []*x509.Certificate {
	if last := len(chain) - 1; last > 0 && selfSigned(chain[last]) {
		return chain[:last]
	}
	return chain
}
