package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"keysetd.example/jwks/x5c"
)

// Certificate says what certificates the keys of a keyset have.
type Certificate struct {
	// Issuer is self, each certificate signed by its own key; ca, signed by a certificate authority whose
	// key is on a token; external, handed in by people for the requests that the keys sign; or none. Required. Enc
	// keysets cannot have self or external, for a key that decrypts cannot sign.
	Issuer CertificateIssuer `yaml:"issuer"`
	// Subject of the certificates. Required unless there are none; the common name is generated.
	Subject Subject `yaml:"subject"`
	// CA is the name of the certificate authority. Required for ca.
	CA string `yaml:"ca"`
	// Usages that the certificates allow beside the one that the key is for, by the names of RFC 5280:
	// see x5c.Usage. Left out: that one only.
	Usages []x5c.Usage `yaml:"usages"`
	// Root is keep or drop: what becomes of a self-signed certificate at the end of the chain. Left
	// out: drop, for verifiers have it.
	Root RootPolicy `yaml:"root"`
	// RootsFile is the path of a PEM file with the certificates that a chain from outside must lead to one
	// of; it is read when the configuration is. Required for external.
	RootsFile string `yaml:"roots"`
	// RequireX5C: a key signs only while it has a chain that is valid. Left out: false, and a key whose chain
	// ended signs on without it.
	RequireX5C bool `yaml:"require_x5c"`
	// Roots is what roots holds, X.509 DER.
	Roots [][]byte `yaml:"-"`
}

// Pool is what a chain from outside must lead to.
func (c Certificate) Pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for i, der := range c.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("the file that it names: its certificate %d cannot be read", i+1)
		}
		pool.AddCert(root)
	}
	return pool, nil
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
	External      CertificateIssuer = "external"
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

// fields are those of Certificate that apply to an issuer, beside issuer.
func (i CertificateIssuer) fields() []string {
	switch i {
	case SelfSigned:
		return []string{"subject", "usages", "require_x5c"}
	case IssuedByCA:
		return []string{"subject", "usages", "require_x5c", "ca", "root"}
	case External:
		return []string{"subject", "usages", "require_x5c", "roots", "root"}
	}
	return nil
}

func (k *Keyset) checkCertificate(src *source, keyset path) error {
	at := keyset.join("certificate")
	subject := at.join("subject")
	switch {
	case src.has(at) && !src.has(at.join("issuer")):
		return src.fail(at, "issuer is missing; write self, ca, external or none")
	case k.Certificate.Issuer == SelfSigned && k.Purpose == Enc:
		return src.fail(at.join("issuer"), "self does not apply to purpose enc, whose keys cannot sign; write ca or none")
	case k.Certificate.Issuer == External && k.Purpose == Enc:
		return src.fail(at.join("issuer"), "external does not apply to purpose enc, whose keys cannot sign a request; write ca or none")
	case k.Certificate.RequireX5C && k.Purpose == Enc:
		return src.fail(at.join("require_x5c"), "does not apply to purpose enc, whose keys do not sign; leave it out")
	}
	for _, f := range []string{"subject", "usages", "ca", "root", "roots", "require_x5c"} {
		if issuer := k.Certificate.Issuer; src.has(at.join(f)) && !slices.Contains(issuer.fields(), f) {
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
	if k.Certificate.Issuer == External {
		return k.checkExternal(src, keyset)
	}
	return nil
}

// checkExternal reads what chains from outside must lead to, and tells whether people have the time to get one.
func (k *Keyset) checkExternal(src *source, keyset path) error {
	at, c := keyset.join("certificate"), &k.Certificate
	switch {
	case c.RootsFile == "":
		return src.fail(at, "roots is missing; name the PEM file with the certificates that a chain from outside must lead to")
	case !src.has(keyset.join("rotation").join("lead")):
		return src.fail(at.join("issuer"), "external needs rotation.lead, and no default will do: people are to have a certificate issued and handed in within it; say how long they need")
	}
	c.RootsFile = src.abs(c.RootsFile)
	data, err := src.opts.ReadFile(c.RootsFile)
	if err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok { // for its path could be anything
			err = failed.Err
		}
		return src.fail(at.join("roots"), "the file that it names: %v", err)
	}
	if c.Roots, err = x5c.ParsePEM(data); err != nil {
		return src.fail(at.join("roots"), "the file that it names: %v", err)
	}
	if _, err := c.Pool(); err != nil {
		return src.fail(at.join("roots"), "%v", err)
	}
	return nil
}
