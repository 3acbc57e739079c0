package x5c_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

// path is a root, an issuing CA and a leaf, each with a key of its own, as a company's PKI would issue them.
type path struct{ leaf, ca, root []byte }

func newPath(t *testing.T, leafKey crypto.PublicKey, leafDates, caDates time.Duration) path {
	t.Helper()
	rootKey, caKey := key(t, keyspec.P384), key(t, keyspec.P521)
	template := func(cn string, ca bool, valid time.Duration) *x509.Certificate {
		usage := x509.KeyUsageDigitalSignature
		if ca {
			usage = x509.KeyUsageCertSign
		}
		return &x509.Certificate{Subject: pkix.Name{CommonName: cn}, NotBefore: noon, NotAfter: noon.Add(valid), KeyUsage: usage, BasicConstraintsValid: true, IsCA: ca}
	}
	issue := func(c, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root, ca, leaf := template("root", true, 24*time.Hour), template("ca", true, caDates), template("leaf", false, leafDates)
	return path{
		root: issue(root, root, rootKey.Public(), rootKey),
		ca:   issue(ca, root, caKey.Public(), rootKey),
		leaf: issue(leaf, ca, leafKey, caKey),
	}
}

// forged is a certificate with the last byte of its signature changed.
func forged(der []byte) []byte {
	der = bytes.Clone(der)
	der[len(der)-1] ^= 1
	return der
}

func TestCheck(t *testing.T) {
	mine, other := key(t, keyspec.P256), key(t, keyspec.Ed25519)
	self := selfSigned(t, request(), mine)[0]
	p := newPath(t, mine.Public(), 12*time.Hour, 12*time.Hour)
	brief := newPath(t, mine.Public(), 12*time.Hour, time.Hour)
	at := noon.Add(time.Hour)
	for name, tc := range map[string]struct {
		chain [][]byte
		pub   crypto.PublicKey
		now   time.Time
		want  string // "" for a chain in order
	}{
		"self-signed":                 {[][]byte{self}, mine.Public(), at, ""},
		"with root":                   {[][]byte{p.leaf, p.ca, p.root}, mine.Public(), at, ""},
		"without root":                {[][]byte{p.leaf, p.ca}, mine.Public(), at, ""},
		"leaf alone":                  {[][]byte{p.leaf}, mine.Public(), at, ""},
		"first second":                {[][]byte{self}, mine.Public(), noon, ""},
		"last second":                 {[][]byte{self}, mine.Public(), midnight, ""},
		"empty":                       {nil, mine.Public(), at, "chain is empty"},
		"no certificate":              {[][]byte{p.leaf, []byte("PEM?")}, mine.Public(), at, "parsing certificate 2 of 2"},
		"trailing bytes":              {[][]byte{append(bytes.Clone(self), 0)}, mine.Public(), at, "parsing certificate 1 of 1"},
		"another key":                 {[][]byte{self}, key(t, keyspec.RSA2048).Public(), at, "for another key"},
		"another key of the kind":     {selfSigned(t, request(), other), mine.Public(), at, "for another key"},
		"expired":                     {[][]byte{self}, mine.Public(), midnight.Add(time.Second), "expired"},
		"not yet valid":               {[][]byte{self}, mine.Public(), noon.Add(-time.Second), "not yet valid"},
		"CA expired":                  {[][]byte{brief.leaf, brief.ca, brief.root}, mine.Public(), noon.Add(2 * time.Hour), "expired"},
		"CA last and expired":         {[][]byte{brief.leaf, brief.ca}, mine.Public(), noon.Add(2 * time.Hour), "expired"},
		"out of order":                {[][]byte{p.leaf, p.root, p.ca}, mine.Public(), at, "not in order"},
		"one too many":                {[][]byte{self, p.root}, mine.Public(), at, "checking the certificate chain"},
		"the leaf twice":              {[][]byte{self, self}, mine.Public(), at, "not in order"},
		"forged self-signed":          {[][]byte{forged(self)}, mine.Public(), at, "checking the signature"},
		"forged leaf":                 {[][]byte{forged(p.leaf), p.ca, p.root}, mine.Public(), at, "checking the certificate chain"},
		"forged CA":                   {[][]byte{p.leaf, forged(p.ca), p.root}, mine.Public(), at, "checking the certificate chain"},
		"forged root":                 {[][]byte{p.leaf, p.ca, forged(p.root)}, mine.Public(), at, "checking the signature"},
		"signed by what is not a CA":  {[][]byte{notByCA(t, mine.Public()), selfSigned(t, request(), other)[0]}, mine.Public(), at, "checking the certificate chain"},
		"the root alone":              {[][]byte{p.root}, mine.Public(), at, "for another key"},
		"leaf and root, CA forgotten": {[][]byte{p.leaf, p.root}, mine.Public(), at, "signed by unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			err := x5c.Check(tc.chain, tc.pub, tc.now)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			var invalid x509.CertificateInvalidError
			expired := errors.As(err, &invalid) && invalid.Reason == x509.Expired
			if dates := slices.Contains([]string{"expired", "not yet valid"}, tc.want); expired != dates {
				t.Errorf("an error of dates: %v, want %v (%v)", expired, dates, err)
			}
		})
	}
}

// notByCA is a certificate signed by the key of a self-signed leaf, which may not do that.
func notByCA(t *testing.T, pub crypto.PublicKey) []byte {
	t.Helper()
	signer := key(t, keyspec.Ed25519)
	parent, err := x509.ParseCertificate(selfSigned(t, request(), signer)[0])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, NotBefore: noon, NotAfter: midnight}, parent, pub, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
