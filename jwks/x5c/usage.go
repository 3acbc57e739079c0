package x5c

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// Usage is a use that a certificate allows beside the one its key is for, by the name in
// RFC 5280 §4.2.1.3 and §4.2.1.12 or RFC 9336.
//
// What the key is for is always in the certificate: digitalSignature for one that signs,
// keyEncipherment or keyAgreement for RSA and EC keys that decrypt. No Usage lets a key
// certify others, answer for their revocation or tell the time: these are a CA's to give.
type Usage string

// The usages that can be added.
const (
	// ContentCommitment (once nonRepudiation) says that somebody stands by what was signed
	// and cannot deny it. It is for keys that sign; a daemon does not know of anybody, so
	// it is never there unasked.
	ContentCommitment Usage = "contentCommitment"
	ServerAuth        Usage = "serverAuth"
	ClientAuth        Usage = "clientAuth"
	CodeSigning       Usage = "codeSigning"
	EmailProtection   Usage = "emailProtection"
	DocumentSigning   Usage = "documentSigning"
)

// extendedOIDs are the key purposes (id-kp) of the extended key usages.
var extendedOIDs = map[Usage]asn1.ObjectIdentifier{
	ServerAuth:      {1, 3, 6, 1, 5, 5, 7, 3, 1},
	ClientAuth:      {1, 3, 6, 1, 5, 5, 7, 3, 2},
	CodeSigning:     {1, 3, 6, 1, 5, 5, 7, 3, 3},
	EmailProtection: {1, 3, 6, 1, 5, 5, 7, 3, 4},
	DocumentSigning: {1, 3, 6, 1, 5, 5, 7, 3, 36},
}

// Validate tells whether u is one of the usages; the error lists them.
func (u Usage) Validate() error {
	if _, ok := extendedOIDs[u]; ok || u == ContentCommitment {
		return nil
	}
	var names []string
	for _, u := range Usages() {
		names = append(names, string(u))
	}
	return fmt.Errorf("unknown usage; the usages that can be added are %s", strings.Join(names, ", "))
}

// Usages returns the usages that can be added.
func Usages() []Usage {
	return []Usage{ContentCommitment, ServerAuth, ClientAuth, CodeSigning, EmailProtection, DocumentSigning}
}

// usages are the two extensions' content for a key, each extended usage once.
func (req Request) usages(pub crypto.PublicKey) (x509.KeyUsage, []asn1.ObjectIdentifier, error) {
	usage := x509.KeyUsageDigitalSignature
	if req.Encrypts {
		switch pub.(type) {
		case *rsa.PublicKey:
			usage = x509.KeyUsageKeyEncipherment
		case *ecdsa.PublicKey:
			usage = x509.KeyUsageKeyAgreement // RFC 5480 §3
		default:
			return 0, nil, fmt.Errorf("a key of type %T does not decrypt", pub)
		}
	}
	var extended []asn1.ObjectIdentifier
	for _, u := range req.Usages {
		if err := u.Validate(); err != nil {
			return 0, nil, err
		}
		if u == ContentCommitment {
			if req.Encrypts {
				return 0, nil, fmt.Errorf("%s is for keys that sign, and this one decrypts", u)
			}
			usage |= x509.KeyUsageContentCommitment
			continue
		}
		if oid := extendedOIDs[u]; !slices.ContainsFunc(extended, oid.Equal) {
			extended = append(extended, oid)
		}
	}
	return usage, extended, nil
}

// usageExtensions are the extensions that a CSR asks for, for a key that signs.
func usageExtensions(usage x509.KeyUsage, extended []asn1.ObjectIdentifier) ([]pkix.Extension, error) {
	bits := asn1.BitString{Bytes: []byte{0x80}, BitLength: 1} // digitalSignature is bit 0
	if usage&x509.KeyUsageContentCommitment != 0 {
		bits = asn1.BitString{Bytes: []byte{0xc0}, BitLength: 2}
	}
	der, err := asn1.Marshal(bits)
	if err != nil {
		return nil, fmt.Errorf("encoding the key usage: %w", err)
	}
	extensions := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: der}}
	if len(extended) > 0 {
		if der, err = asn1.Marshal(extended); err != nil {
			return nil, fmt.Errorf("encoding the extended key usage: %w", err)
		}
		extensions = append(extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: der})
	}
	return extensions, nil
}
