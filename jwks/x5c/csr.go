package x5c

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
)

// CSR is the certificate signing request (PKCS #10, RFC 2986) for key's certificate, in
// DER, signed by key, which keeps the contract that SelfSigned asks of its signer. It asks
// for req's subject and usages; dates are the CA's to set, and req's are not looked at. A
// key that decrypts can have none, for it cannot sign.
//
// The result's signature has been checked (crypto/x509 does so).
func CSR(req Request, key crypto.Signer) ([]byte, error) {
	der, err := req.csr(key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate signing request of %q: %w", req.CommonName, err)
	}
	return der, nil
}

func (req Request) csr(key crypto.Signer) ([]byte, error) {
	subject, err := req.subject()
	if err != nil {
		return nil, err
	}
	if req.Encrypts {
		return nil, errEncrypts
	}
	usage, extended, err := req.usages(key.Public())
	if err != nil {
		return nil, err
	}
	extensions, err := usageExtensions(usage, extended)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, ExtraExtensions: extensions}, key)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return der, nil
}
