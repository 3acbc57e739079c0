package config

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
)

// CertificateAuthority issues certificates for the keys of keysets. Its own key is on a token, and is
// neither a keyset's nor a static key; `keysetd ca` makes one.
type CertificateAuthority struct {
	// Token that the key is on, by name. Left out: default, or the only one there is.
	Token string `yaml:"token"`
	// Label of the key (CKA_LABEL). At least one of label and id is required; with both, both
	// must match.
	Label string `yaml:"label"`
	// ID of the key (CKA_ID), in hex.
	ID KeyID `yaml:"id"`
	// CertificateFile is the path of a PEM file with the authority's certificate and then those above it;
	// it is read when the configuration is. Required.
	CertificateFile string `yaml:"certificate"`
	// CRLURLs are where the revocation list is, for the certificates (RFC 5280 §4.2.1.13). Left out:
	// not said.
	CRLURLs []string `yaml:"crl_urls"`
	// IssuerURLs are where the authority's own certificate is (caIssuers, RFC 5280 §4.2.2.1). Left
	// out: not said.
	IssuerURLs []string `yaml:"issuer_urls"`
	// Chain is what certificate holds, X.509 DER.
	Chain [][]byte `yaml:"-"`
}

// CA is what issues; its signer is still to be given.
func (a CertificateAuthority) CA(root RootPolicy) (x5c.CA, error) {
	own, err := x509.ParseCertificate(a.Chain[0])
	if err != nil {
		return x5c.CA{}, errors.New("the file that it names: its first certificate cannot be read")
	}
	return x5c.CA{Certificate: own, Above: a.Chain[1:], CRLURLs: a.CRLURLs, IssuerURLs: a.IssuerURLs, KeepRoot: root == KeepRoot}, nil
}

func (c *Config) checkAuthorities(src *source) error {
	for _, name := range slices.Sorted(maps.Keys(c.CertificateAuthorities)) {
		a := c.CertificateAuthorities[name]
		if err := a.check(src, root.join("certificate_authorities").join(name), c.Tokens); err != nil {
			return err
		}
		c.CertificateAuthorities[name] = a
	}
	return nil
}

func (a *CertificateAuthority) check(src *source, at path, tokens map[string]Token) error {
	if err := checkToken(src, at, &a.Token, tokens); err != nil {
		return err
	}
	_, label := rotation.ParseLabel(a.Label)
	switch {
	case a.Label == "" && len(a.ID) == 0:
		return src.fail(at, "does not say which key; give its label (CKA_LABEL), its id (CKA_ID) or both")
	case len(a.Label) > maxRef:
		return src.fail(at.join("label"), "is longer than the %d bytes that a key's label may have", maxRef)
	case label == nil:
		return src.fail(at.join("label"), "is that of a keyset's key; an authority has a key of its own, as `keysetd ca create` makes it")
	case len(a.ID) > maxRef:
		return src.fail(at.join("id"), "is longer than the %d bytes that a key's CKA_ID may have", maxRef)
	case a.CertificateFile == "":
		return src.fail(at, "certificate is missing; name the PEM file with the authority's certificate and those above it")
	}
	a.CertificateFile = src.abs(a.CertificateFile)
	data, err := src.opts.ReadFile(a.CertificateFile)
	if err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok { // for its path could be anything
			err = failed.Err
		}
		return src.fail(at.join("certificate"), "the file that it names: %v", err)
	}
	if a.Chain, err = x5c.ParsePEM(data); err != nil {
		return src.fail(at.join("certificate"), "the file that it names: %v", err)
	}
	for _, f := range []struct {
		name        string
		crl, issuer []string
	}{{"certificate", nil, nil}, {"crl_urls", a.CRLURLs, nil}, {"issuer_urls", nil, a.IssuerURLs}} {
		ca, err := a.CA(DropRoot)
		if err == nil {
			ca.CRLURLs, ca.IssuerURLs = f.crl, f.issuer
			err = ca.Validate()
		}
		if err != nil {
			return src.fail(at.join(f.name), "%v", err)
		}
	}
	return nil
}

// checkAuthority tells whether the authority that issues for a keyset is there, and the address that its
// discovery document is below.
func (c *Config) checkAuthority(src *source, name string) error {
	k := c.Keysets[name]
	if k.Discovery != nil && c.PublicURL == "" {
		return src.fail(root.join("keysets").join(name).join("discovery"), "needs public_url, of which clients read the JWKS; give that, or leave discovery out")
	}
	if k.Certificate.Issuer != IssuedByCA {
		return nil
	}
	at := root.join("keysets").join(name).join("certificate")
	if k.Certificate.CA == "" {
		return src.fail(at, "ca is missing; name one of certificate_authorities")
	}
	if len(c.CertificateAuthorities) == 0 {
		return src.fail(at.join("ca"), "names a certificate authority, and there is none; describe it under certificate_authorities")
	}
	if _, ok := c.CertificateAuthorities[k.Certificate.CA]; !ok {
		return src.fail(at.join("ca"), "is not the name of a certificate authority; they are %s", join(slices.Sorted(maps.Keys(c.CertificateAuthorities))))
	}
	return nil
}
