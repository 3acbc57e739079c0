package x5c

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// CA is an authority whose key is at hand.
type CA struct {
	// Certificate of the CA, self-signed or issued by the first of Above. Required.
	Certificate *x509.Certificate
	// Above are the certificates above it, X.509 DER, each signed by the next. None where
	// Certificate is self-signed, or where the chain is to end with it: a root need not be
	// here, and one signed with SHA-1 must not.
	Above [][]byte
	// Signer has the CA's key, and keeps the contract that SelfSigned asks of its signer.
	Signer crypto.Signer
	// CRLURLs are where the CA's revocation list is (RFC 5280 §4.2.1.13). None: not said.
	CRLURLs []string
	// IssuerURLs are where the CA's own certificate is (caIssuers, RFC 5280 §4.2.2.1).
	// None: not said.
	IssuerURLs []string
	// KeepRoot keeps a self-signed certificate at the end of the chains issued.
	KeepRoot bool
}

// Validate tells whether the CA's certificates let it issue, whatever time it is, and
// whether its URLs can stand in a certificate. It does not look at Signer.
func (ca CA) Validate() error {
	_, err := ca.path()
	return err
}

// path is the CA's certificate and those above it, after checking all but the dates.
func (ca CA) path() ([]*x509.Certificate, error) {
	if ca.Certificate == nil {
		return nil, errors.New("the CA has no certificate")
	}
	c := ca.Certificate
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return nil, fmt.Errorf("the certificate of %s is not a CA's (basicConstraints); name one that may issue, or make a CA with keysetd ca", c.Subject)
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("the key of %s may not sign certificates (keyUsage has no keyCertSign); have its certificate issued again, with it", c.Subject)
	case len(c.SubjectKeyId) == 0:
		return nil, fmt.Errorf("the certificate of %s has no subject key identifier for others to refer to (RFC 5280 §4.2.1.2); have it issued again, with one", c.Subject)
	}
	certs, err := parse(append([][]byte{c.Raw}, ca.Above...))
	if err != nil {
		return nil, fmt.Errorf("the CA's certificate and those above it: %w", err)
	}
	for below, above := range certs {
		if err := errors.Join(checkKey(above), checkSignature(above)); err != nil {
			return nil, err
		}
		if above.MaxPathLen >= 0 && above.BasicConstraintsValid && below > above.MaxPathLen {
			return nil, fmt.Errorf("%s allows %d CAs below it (pathLenConstraint), and there are %d; have a CA nearer to it issue", above.Subject, above.MaxPathLen, below)
		}
	}
	begin, _, err := Ends(raw(certs))
	if err == nil {
		err = Check(raw(certs), c.PublicKey, begin)
	}
	if err != nil {
		return nil, fmt.Errorf("the CA's certificate and those above it are no chain: %w", err)
	}
	if err := errors.Join(checkURLs("CRL", ca.CRLURLs), checkURLs("issuer", ca.IssuerURLs)); err != nil {
		return nil, err
	}
	return certs, nil
}

// checkURLs accepts the locations that RFC 5280 §4.2.1.13 and §4.2.2.1 name. It repeats none.
func checkURLs(kind string, urls []string) error {
	for i, s := range urls {
		u, err := url.Parse(s)
		// An IA5String is ASCII, and a certificate no place for a password.
		if err != nil || u.Host == "" || u.User != nil || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) ||
			(u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ldap") {
			return fmt.Errorf("%s URL %d is not one of the form http://host/path (or https, ldap) in ASCII, without a user", kind, i+1)
		}
	}
	return nil
}

// clip shortens the validity of template to the span in which all of the CA's path is valid.
func clip(template *x509.Certificate, path []*x509.Certificate) error {
	begins, ends := span(path)
	wantFrom, wantUntil := template.NotBefore, template.NotAfter
	if template.NotBefore.Before(begins.NotBefore) {
		template.NotBefore = begins.NotBefore
	}
	if template.NotAfter.After(ends.NotAfter) {
		template.NotAfter = ends.NotAfter
	}
	if !template.NotBefore.Before(template.NotAfter) {
		return fmt.Errorf("the CA can issue from %s (%s) until %s (%s) only, and the certificate was to be from %s until %s; renew the CA's certificate",
			begins.NotBefore.Format(time.RFC3339), begins.Subject, ends.NotAfter.Format(time.RFC3339), ends.Subject,
			wantFrom.Format(time.RFC3339), wantUntil.Format(time.RFC3339))
	}
	return nil
}
