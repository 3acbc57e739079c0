package x5c

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
)

// Issue has ca issue a certificate for pub and returns its chain: the certificate, the
// CA's, those above it. The signature algorithm follows the CA's key, as in SelfSigned.
//
// A certificate is of no use when one above it is not valid, so req's dates are clipped to
// those of the CA and of all above it; Ends tells what came of it. Dates that do not meet
// the CA's at all are an error. Whether the chain is valid now is the caller's question
// (Check).
//
// The result has been parsed and its signatures checked.
func Issue(req Request, pub crypto.PublicKey, ca CA) ([][]byte, error) {
	chain, err := issue(req, pub, ca)
	if err != nil {
		return nil, fmt.Errorf("issuing the certificate of %q: %w", req.CommonName, err)
	}
	return chain, nil
}

func issue(req Request, pub crypto.PublicKey, ca CA) ([][]byte, error) {
	path, err := ca.path()
	if err != nil {
		return nil, err
	}
	parent := path[0]
	if !equal(parent.PublicKey, ca.Signer.Public()) {
		return nil, fmt.Errorf("the certificate of %s is for another key than the CA's on the token; name the certificate that was issued for that key", parent.Subject)
	}
	if equal(parent.PublicKey, pub) {
		return nil, errors.New("the key to be certified is the CA's own; a CA's key signs certificates only")
	}
	template, err := req.template(pub)
	if err != nil {
		return nil, err
	}
	if err := clip(template, path); err != nil {
		return nil, err
	}
	template.CRLDistributionPoints, template.IssuingCertificateURL = ca.CRLURLs, ca.IssuerURLs
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, ca.Signer)
	if err != nil {
		return nil, fmt.Errorf("signing with the key of %s: %w", parent.Subject, err)
	}
	chain := append([][]byte{der}, raw(path)...)
	if err := Check(chain, pub, template.NotBefore); err != nil {
		return nil, err
	}
	certs, err := parse(chain)
	if err != nil {
		return nil, err
	}
	if !ca.KeepRoot {
		certs = withoutRoot(certs)
	}
	return raw(certs), nil
}
