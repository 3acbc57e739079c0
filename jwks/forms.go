package jwks

import (
	"crypto/sha1" // the fingerprint that other systems print; nothing trusts it here
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"mime"
	"slices"
	"strings"

	"github.com/smallstep/pkcs7"

	"keysetd.example/jwks/x5c"
)

// form is how a certificate page writes a certificate.
type form int

// The forms, as Auth0 has them.
const (
	// cer is DER (RFC 2585 §4.1), for saving.
	cer form = iota
	// pemFile is PEM (RFC 7468 §5), for saving.
	pemFile
	// rawpem is the same bytes, for reading in the browser.
	rawpem
	// pb7 is a PKCS #7 that has the whole chain, the leaf first, and no signer (RFC 2315 §9), for
	// saving. It is in PEM like the pkcs7 of Auth0's API: one text serves both, and all that
	// imports such files reads it.
	pb7
	// fingerprint is the SHA-1 of the DER in upper-case hexadecimal with colons; a line of text.
	fingerprint
	// fingerprintSHA256 is the same with SHA-256. It has no path of its own: ?hash=sha256.
	fingerprintSHA256

	formCount
)

// formPaths are the last segments of the certificate pages' paths.
var formPaths = map[string]form{"cer": cer, "pem": pemFile, "rawpem": rawpem, "pb7": pb7, "fingerprint": fingerprint}

const plainText = "text/plain; charset=utf-8"

// forms are the pages of one certificate. Only pb7 has what is above the leaf: what imports the
// others takes one certificate, and may take the last of several.
type forms [formCount]*Page

// newForms writes chain, which is DER, leaf first. name is that of the files that are saved.
func newForms(name string, chain [][]byte, f freshness) (*forms, error) {
	leaf := chain[0]
	bundle, err := PKCS7(chain)
	if err != nil {
		return nil, err
	}
	text := x5c.EncodePEM(chain[:1])
	file := func(extension, contentType string, body []byte) *Page {
		p := newPage(contentType, body, f)
		p.disposition = mime.FormatMediaType("attachment", map[string]string{"filename": name + extension})
		return p
	}
	sum := sha256.Sum256(leaf)
	return &forms{
		cer:               file(".cer", "application/pkix-cert", leaf),
		pemFile:           file(".pem", "application/x-pem-file", text),
		rawpem:            newPage(plainText, text, f),
		pb7:               file(".p7b", "application/x-pkcs7-certificates", bundle),
		fingerprint:       newPage(plainText, []byte(Fingerprint(leaf)+"\n"), f),
		fingerprintSHA256: newPage(plainText, []byte(colons(sum[:])+"\n"), f),
	}, nil
}

// PKCS7 writes chain, which is DER, leaf first, as the PKCS #7 that the page /pb7 has: all its
// certificates and no signer (RFC 2315 §9), in PEM (RFC 7468 §8).
func PKCS7(chain [][]byte) ([]byte, error) {
	bundle, err := pkcs7.DegenerateCertificate(slices.Concat(chain...))
	if err != nil {
		return nil, fmt.Errorf("writing the chain as PKCS #7: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: bundle}), nil
}

// Fingerprint is the SHA-1 of a certificate, which is DER, as the page /fingerprint has it:
// upper-case hexadecimal with colons, 0A:FF.
func Fingerprint(certificate []byte) string {
	sum := sha1.Sum(certificate)
	return colons(sum[:])
}

// colons writes sum as 0A:FF.
func colons(sum []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
