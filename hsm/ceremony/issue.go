package ceremony

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"keysetd.example/jwks/x5c"
)

// usages of a CA's key (RFC 5280 §4.2.1.3). The records that it signs as well are JWS, whose signing input no
// certificate and no CRL can be.
const usages = x509.KeyUsageCertSign | x509.KeyUsageCRLSign

// backdated is how long before the ceremony a self-signed certificate begins: verifiers' clocks may be behind, and
// keysetd shows no chain before its begin plus the clock skew.
const backdated = 5 * time.Minute

// selfSigned issues the CA's own certificate (DER). Its serial number and key identifiers are crypto/x509's: 159
// random bits, and a hash of the key. The signature of the result was checked.
func (p Plan) selfSigned(signer crypto.Signer, now time.Time) ([]byte, error) {
	template := &x509.Certificate{
		Subject:               p.Subject,
		NotBefore:             now.UTC().Truncate(time.Second).Add(-backdated),
		NotAfter:              now.UTC().Truncate(time.Second).AddDate(0, 0, p.Days),
		KeyUsage:              usages,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            p.PathLength,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("issue the CA's certificate: %w", err)
	}
	if err := x5c.Check([][]byte{der}, signer.Public(), template.NotBefore); err != nil {
		return nil, err
	}
	return der, nil
}

// request makes the request to the corporate root (PKCS #10), whose signature was checked. It asks for the extensions that the certificate
// must have.
func (p Plan) request(signer crypto.Signer) (*x509.CertificateRequest, error) {
	extensions, err := p.extensions()
	if err != nil {
		return nil, fmt.Errorf("prepare the CA's request: %w", err)
	}
	template := &x509.CertificateRequest{Subject: p.Subject, ExtraExtensions: extensions}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, signer)
	if err != nil {
		return nil, fmt.Errorf("sign the CA's request: %w", err)
	}
	return parseRequest(der, signer.Public())
}

// extensions are basicConstraints and keyUsage (RFC 5280 §4.2.1.9, §4.2.1.3), both critical.
func (p Plan) extensions() ([]pkix.Extension, error) {
	constraints, err := asn1.Marshal(struct {
		CA         bool
		PathLength int
	}{true, p.PathLength})
	if err != nil {
		return nil, err
	}
	usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x06}, BitLength: 7}) // keyCertSign (5), cRLSign (6)
	if err != nil {
		return nil, err
	}
	return []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: constraints},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: usage},
	}, nil
}

// parseRequest reads a request and checks that pub made it.
func parseRequest(der []byte, pub crypto.PublicKey) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("read the CA's request: %w", err)
	}
	if !samePublic(csr.PublicKey, pub) {
		return nil, errors.New("the CA's request is for another key")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check the signature of the CA's request: %w", err)
	}
	return csr, nil
}

// checkCA tells whether chain makes pub's key a CA at this time: its key, each certificate signed by the next,
// the dates of all, the CA flags, and path lengths that leave room for the certificates that it is to issue.
func checkCA(chain [][]byte, pub crypto.PublicKey, now time.Time) ([]*x509.Certificate, error) {
	if err := x5c.Check(chain, pub, now); err != nil {
		return nil, err
	}
	certs, err := x5c.Parse(chain, pub)
	if err != nil {
		return nil, err
	}
	for i, cert := range certs {
		switch {
		case !cert.BasicConstraintsValid || !cert.IsCA:
			return nil, fmt.Errorf("certificate %d of the chain (%s) is not a CA's (basicConstraints)", i+1, cert.Subject)
		case cert.KeyUsage&x509.KeyUsageCertSign == 0:
			return nil, fmt.Errorf("certificate %d of the chain (%s) may not sign certificates (keyUsage)", i+1, cert.Subject)
		// Below it are i CAs when this one issues; crypto/x509 counted one less, as the chain ends with ours.
		case pathLength(cert) >= 0 && pathLength(cert) < i:
			return nil, fmt.Errorf("certificate %d of the chain (%s) allows %d CAs below it and there are %d: what this CA issues nobody would accept", i+1, cert.Subject, pathLength(cert), i)
		}
	}
	return certs, nil
}

// pathLength is how many CAs there may be below cert; -1 where it does not say.
func pathLength(cert *x509.Certificate) int {
	if cert.MaxPathLen > 0 || cert.MaxPathLen == 0 && cert.MaxPathLenZero {
		return cert.MaxPathLen
	}
	return -1
}
