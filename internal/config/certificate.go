package config

import (
	"strings"

	"keysetd.example/jwks/x5c"
)

// Certificate says what certificates the keys of a keyset have.
type Certificate struct {
	// Issuer is self, each certificate signed by its own key; ca, signed by a certificate authority whose
	// key is on a token; or none. Required. Enc keysets cannot have self, for a key that decrypts
	// cannot sign.
	Issuer CertificateIssuer `yaml:"issuer"`
	// Subject of the certificates. Required for self and ca; the common name is generated.
	Subject Subject `yaml:"subject"`
	// CA is the name of the certificate authority. Required for ca.
	CA string `yaml:"ca"`
	// Usages that the certificates allow beside the one that the key is for, by the names of RFC 5280:
	// see x5c.Usage. Left out: that one only.
	Usages []x5c.Usage `yaml:"usages"`
	// Root is keep or drop: what becomes of a self-signed certificate at the end of the chain. Left
	// out: drop, for verifiers have it.
	Root RootPolicy `yaml:"root"`
}

func (c *Certificate) setDefaults() { c.Issuer, c.Root = NoCertificate, DropRoot }

// RootPolicy is what becomes of the root at the end of a chain.
type RootPolicy string

// The root policies.
const (
	DropRoot RootPolicy = "drop"
	KeepRoot RootPolicy = "keep"
)

// CertificateIssuer is who signs the certificates.
type CertificateIssuer string

// The certificate issuers.
const (
	SelfSigned    CertificateIssuer = "self"
	IssuedByCA    CertificateIssuer = "ca"
	NoCertificate CertificateIssuer = "none"
)

// Subject is the part of a certificate's name that does not change from key to key.
type Subject struct {
	// Organization, at most 64 characters. Required.
	Organization string `yaml:"organization"`
	// OrganizationalUnit, at most 64 characters. Left out: not in the name.
	OrganizationalUnit string `yaml:"organizational_unit"`
	// Locality, at most 128 characters. Left out: not in the name.
	Locality string `yaml:"locality"`
	// Province or state, at most 128 characters. Left out: not in the name.
	Province string `yaml:"province"`
	// Country, two capital letters (ISO 3166). Required.
	Country string `yaml:"country"`
}

func (k *Keyset) checkCertificate(src *source, keyset path) error {
	at := keyset.join("certificate")
	subject := at.join("subject")
	switch {
	case src.has(at) && !src.has(at.join("issuer")):
		return src.fail(at, "issuer is missing; write self, ca or none")
	case k.Certificate.Issuer == SelfSigned && k.Purpose == Enc:
		return src.fail(at.join("issuer"), "self does not apply to purpose enc, whose keys cannot sign; write ca or none")
	}
	for _, f := range []string{"subject", "usages", "ca", "root"} {
		if issuer := k.Certificate.Issuer; src.has(at.join(f)) && (issuer == NoCertificate || issuer == SelfSigned && (f == "ca" || f == "root")) {
			return src.fail(at.join(f), "does not apply to issuer %s; leave it out", issuer)
		}
	}
	if k.Certificate.Issuer == NoCertificate {
		return nil
	}
	for i, u := range k.Certificate.Usages {
		if u.Validate() != nil {
			return src.fail(at.join("usages").item(i), "must be one of %s", join(x5c.Usages()))
		}
	}
	s := k.Certificate.Subject
	for _, f := range []struct {
		name, value string
		limit       int // RFC 5280 appendix A.1, characters
		required    bool
	}{
		{"organization", s.Organization, 64, true},
		{"organizational_unit", s.OrganizationalUnit, 64, false},
		{"locality", s.Locality, 128, false},
		{"province", s.Province, 128, false},
		{"country", s.Country, 2, true},
	} {
		switch {
		case f.required && f.value == "":
			return src.fail(subject, "%s is missing; certificates with issuer %s need it", f.name, k.Certificate.Issuer)
		case len([]rune(f.value)) > f.limit:
			return src.fail(subject.join(f.name), "is longer than the %d characters that a certificate has for it (RFC 5280 appendix A.1)", f.limit)
		}
	}
	if len(s.Country) != 2 || strings.Trim(s.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return src.fail(subject.join("country"), "must be two capital letters (ISO 3166), as in CH")
	}
	return nil
}
