package x5c

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
)

const (
	// maxCertificates is how many certificates may be handed in at once. A chain has two to four.
	maxCertificates = 10
	// maxPEM is how large they may be together, as PEM, in bytes.
	maxPEM = 64 << 10

	pemCertificate = "CERTIFICATE"
	pemCSR         = "CERTIFICATE REQUEST"
)

// pemBegin begins a block of PEM (RFC 7468 §3).
var pemBegin = regexp.MustCompile(`(?m)^[ \t]*-----BEGIN `)

// EncodePEM writes a chain as PEM, in its order (RFC 7468 §5).
func EncodePEM(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	return out
}

// EncodeCSR writes a certificate signing request as PEM (RFC 7468 §7).
func EncodeCSR(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCSR, Bytes: der})
}

// ParsePEM returns the certificates in data, DER, in their order: one to ten, in at most
// 64 KiB. Text between the blocks is passed over. Anything but certificates is refused, a
// private key above all; the errors repeat nothing of what data holds. Whether the
// certificates are a chain is for Complete to tell.
func ParsePEM(data []byte) ([][]byte, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("more than the %d KiB that a chain may have; leave the key's certificate and those above it, nothing else", maxPEM>>10)
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, errors.New("there is a private key among the certificates; take it out, and if it is one that is in use, it is not safe any more: replace it")
	}
	begun := pemBegin.FindAllIndex(data, -1)
	if len(begun) > maxCertificates {
		return nil, fmt.Errorf("%d PEM blocks; a chain may have %d", len(begun), maxCertificates)
	}
	var chain [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch _, err := x509.ParseCertificate(block.Bytes); {
		case block.Type == "PKCS7":
			return nil, errors.New("PKCS #7, not certificates; convert it with: openssl pkcs7 -print_certs")
		case block.Type == pemCSR:
			return nil, errors.New("a certificate signing request, not a certificate; hand in what the CA made of it")
		case block.Type != pemCertificate:
			return nil, fmt.Errorf("block %d is no %s; leave certificates only", len(chain)+1, pemCertificate)
		case err != nil:
			return nil, fmt.Errorf("block %d is not an X.509 certificate that can be read", len(chain)+1)
		}
		chain = append(chain, block.Bytes)
	}
	switch {
	case len(begun) == 0 && bytes.HasPrefix(data, []byte{0x30}): // a SEQUENCE of ASN.1
		return nil, errors.New("DER, not PEM; convert it with: openssl x509 -inform DER, or if it is PKCS #7: openssl pkcs7 -inform DER -print_certs")
	case len(begun) == 0:
		return nil, errors.New("no CERTIFICATE block; hand in the chain as PEM")
	case len(chain) != len(begun): // pem.Decode passes over what it cannot read
		return nil, fmt.Errorf("only %d of %d PEM blocks can be read; write them again", len(chain), len(begun))
	}
	return chain, nil
}
