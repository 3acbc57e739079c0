package x5c_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

func day(n int) time.Time { return noon.Add(time.Duration(n) * 24 * time.Hour) }

func (a *authority) ca(above ...*x509.Certificate) x5c.CA {
	return x5c.CA{Certificate: a.cert, Above: ders(above...), Signer: a.key}
}

func issue(t *testing.T, req x5c.Request, pub crypto.PublicKey, ca x5c.CA) ([][]byte, *x509.Certificate) {
	t.Helper()
	chain, err := x5c.Issue(req, pub, ca)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return chain, cert
}

func TestIssueEveryCA(t *testing.T) {
	root := newAuthority(t, "root", keyspec.P384, nil, nil)
	for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.P256, keyspec.Ed25519} {
		issuing := newAuthority(t, "issuing", spec, root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
		for _, leaf := range []keyspec.Spec{keyspec.RSA2048, keyspec.P521, keyspec.Ed25519} {
			t.Run(string(spec+" for "+leaf), func(t *testing.T) {
				pub := key(t, leaf).Public()
				ca := issuing.ca(root.cert)
				ca.CRLURLs, ca.IssuerURLs = []string{"http://pki.example/ca.crl"}, []string{"http://pki.example/ca.cer"}
				chain, cert := issue(t, request(), pub, ca)
				if want := [][]byte{cert.Raw, issuing.cert.Raw}; !slices.EqualFunc(chain, want, bytes.Equal) {
					t.Errorf("the chain is not the leaf and the CA")
				}
				if _, err := cert.Verify(x509.VerifyOptions{Roots: pool(root.cert), Intermediates: pool(issuing.cert), CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
					t.Error(err)
				}
				if !bytes.Equal(cert.AuthorityKeyId, issuing.cert.SubjectKeyId) || len(cert.SubjectKeyId) != 20 {
					t.Errorf("AKI %x, want %x; SKI %x", cert.AuthorityKeyId, issuing.cert.SubjectKeyId, cert.SubjectKeyId)
				}
				if cert.KeyUsage != x509.KeyUsageDigitalSignature || !cert.BasicConstraintsValid || cert.IsCA || cert.ExtKeyUsage != nil {
					t.Errorf("key usage %v, basic constraints %v, CA %v, %v", cert.KeyUsage, cert.BasicConstraintsValid, cert.IsCA, cert.ExtKeyUsage)
				}
				if bits := cert.SerialNumber.BitLen(); bits < 100 || bits > 159 {
					t.Errorf("a serial of %d bits", bits)
				}
				opensslVerifies(t, chain, root.cert)
				text := openssl(t, "x509", "-noout", "-text", "-in", write(t, x5c.EncodePEM(chain)))
				for _, want := range []string{
					"Issuer: O = Corp, CN = issuing\n", "CA:FALSE", "URI:http://pki.example/ca.crl", "CA Issuers - URI:http://pki.example/ca.cer",
					"X509v3 Authority Key Identifier", "X509v3 Key Usage: critical\n                Digital Signature\n", "Not After : Mar  2 00:00:00 2026 GMT",
				} {
					if !strings.Contains(text, want) {
						t.Errorf("openssl does not show %q:\n%s", want, text)
					}
				}
			})
		}
	}
}

func TestIssueRoot(t *testing.T) {
	root := newAuthority(t, "root", keyspec.P256, nil, nil)
	under := newAuthority(t, "under", keyspec.P256, root, nil)
	pub := key(t, keyspec.P256).Public()
	for name, tc := range map[string]struct {
		ca         x5c.CA
		drop, keep int
	}{
		"the CA is the root":  {root.ca(), 1, 2},
		"the root is above":   {under.ca(root.cert), 2, 3},
		"the root is missing": {under.ca(), 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			chain, _ := issue(t, request(), pub, tc.ca)
			tc.ca.KeepRoot = true
			kept, _ := issue(t, request(), pub, tc.ca)
			if len(chain) != tc.drop || len(kept) != tc.keep {
				t.Errorf("chains of %d and, with root, %d; want %d and %d", len(chain), len(kept), tc.drop, tc.keep)
			}
			if err := x5c.Check(kept, pub, noon); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIssueClips(t *testing.T) {
	dates := func(from, until time.Time) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until }
	}
	pub := key(t, keyspec.P256).Public()
	for name, tc := range map[string]struct {
		root, ca, asked, want [2]int // days
	}{
		"inside":               {[2]int{-9, 99}, [2]int{-5, 50}, [2]int{0, 10}, [2]int{0, 10}},
		"to the CA's end":      {[2]int{-9, 99}, [2]int{-5, 50}, [2]int{0, 51}, [2]int{0, 50}},
		"to the CA's start":    {[2]int{-9, 99}, [2]int{-5, 50}, [2]int{-6, 10}, [2]int{-5, 10}},
		"to the root's, too":   {[2]int{-4, 40}, [2]int{-5, 50}, [2]int{-9, 70}, [2]int{-4, 40}},
		"nothing is left":      {[2]int{-9, 99}, [2]int{-5, -1}, [2]int{0, 10}, [2]int{}},
		"nothing is there yet": {[2]int{-9, 99}, [2]int{11, 20}, [2]int{0, 10}, [2]int{}},
		"a moment is left":     {[2]int{-9, 99}, [2]int{-5, 0}, [2]int{0, 10}, [2]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			root := newAuthority(t, "root", keyspec.P256, nil, dates(day(tc.root[0]), day(tc.root[1])))
			under := newAuthority(t, "under", keyspec.P256, root, dates(day(tc.ca[0]), day(tc.ca[1])))
			req := request()
			req.NotBefore, req.NotAfter = day(tc.asked[0]), day(tc.asked[1])
			if tc.want == [2]int{} {
				if _, err := x5c.Issue(req, pub, under.ca(root.cert)); err == nil || !strings.Contains(err.Error(), "renew the CA's certificate") ||
					!strings.Contains(err.Error(), day(tc.ca[1]).Format(time.RFC3339)) {
					t.Errorf("got %v, want an error with the CA's end", err)
				}
				return
			}
			_, cert := issue(t, req, pub, under.ca(root.cert))
			if !cert.NotBefore.Equal(day(tc.want[0])) || !cert.NotAfter.Equal(day(tc.want[1])) {
				t.Errorf("valid from %v until %v", cert.NotBefore, cert.NotAfter)
			}
		})
	}
}

func TestIssueUsages(t *testing.T) {
	ca := newAuthority(t, "root", keyspec.P256, nil, nil).ca()
	for name, tc := range map[string]struct {
		spec     keyspec.Spec
		encrypts bool
		usages   []x5c.Usage
		key      x509.KeyUsage
		extended []x509.ExtKeyUsage
		want     string // of an error
	}{
		"signs":               {keyspec.RSA2048, false, nil, x509.KeyUsageDigitalSignature, nil, ""},
		"commits":             {keyspec.P256, false, []x5c.Usage{x5c.ContentCommitment}, x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment, nil, ""},
		"authenticates":       {keyspec.P256, false, []x5c.Usage{x5c.ClientAuth, x5c.ServerAuth, x5c.ClientAuth}, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, ""},
		"signs code and mail": {keyspec.Ed25519, false, []x5c.Usage{x5c.CodeSigning, x5c.EmailProtection}, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageEmailProtection}, ""},
		"RSA decrypts":        {keyspec.RSA2048, true, nil, x509.KeyUsageKeyEncipherment, nil, ""},
		"EC decrypts":         {keyspec.P256, true, []x5c.Usage{x5c.EmailProtection}, x509.KeyUsageKeyAgreement, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}, ""},
		"Ed25519 decrypts":    {keyspec.Ed25519, true, nil, 0, nil, "does not decrypt"},
		"decrypts, commits":   {keyspec.P256, true, []x5c.Usage{x5c.ContentCommitment}, 0, nil, "is for keys that sign"},
		"certifies":           {keyspec.P256, false, []x5c.Usage{"keyCertSign"}, 0, nil, "the usages that can be added are contentCommitment, serverAuth"},
	} {
		t.Run(name, func(t *testing.T) {
			req := request()
			req.Encrypts, req.Usages = tc.encrypts, tc.usages
			if tc.want != "" {
				if _, err := x5c.Issue(req, key(t, tc.spec).Public(), ca); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want an error with %q", err, tc.want)
				}
				return
			}
			_, cert := issue(t, req, key(t, tc.spec).Public(), ca)
			if cert.KeyUsage != tc.key || !slices.Equal(cert.ExtKeyUsage, tc.extended) {
				t.Errorf("key usage %v, extended %v", cert.KeyUsage, cert.ExtKeyUsage)
			}
		})
	}
	_, cert := issue(t, x5c.Request{Subject: subject, CommonName: "d", NotBefore: noon, NotAfter: midnight, Usages: []x5c.Usage{x5c.DocumentSigning}}, key(t, keyspec.P256).Public(), ca)
	if len(cert.UnknownExtKeyUsage) != 1 || cert.UnknownExtKeyUsage[0].String() != "1.3.6.1.5.5.7.3.36" {
		t.Errorf("document signing is %v", cert.UnknownExtKeyUsage)
	}
	for _, u := range []x5c.Usage{x5c.DocumentSigning, x5c.ContentCommitment} {
		if err := u.Validate(); err != nil {
			t.Error(err)
		}
	}
	req := request()
	req.Encrypts = true
	if _, err := x5c.SelfSigned(req, key(t, keyspec.P256)); err == nil || !strings.Contains(err.Error(), "cannot sign for itself") {
		t.Errorf("a key that decrypts signed: %v", err)
	}
}

func TestIssueRefuses(t *testing.T) {
	change := func(f func(*x509.Certificate)) *authority { return newAuthority(t, "odd", keyspec.P256, nil, f) }
	root := newAuthority(t, "root", keyspec.P256, nil, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	under := newAuthority(t, "under", keyspec.P256, root, nil)
	other := newAuthority(t, "root", keyspec.P256, nil, nil)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	short := &authority{key: weak, cert: (&authority{cert: root.cert, key: root.key}).sign(t, root.cert, weak.Public())}
	sha1 := newAuthority(t, "old", keyspec.RSA2048, nil, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	down := errors.New("CKR_DEVICE_ERROR")
	pub := key(t, keyspec.P256).Public()
	with := func(ca x5c.CA, f func(*x5c.CA)) x5c.CA { f(&ca); return ca }
	for name, tc := range map[string]struct {
		ca   x5c.CA
		want string
	}{
		"no certificate": {x5c.CA{Signer: root.key}, "has no certificate"},
		"no CA":          {change(func(c *x509.Certificate) { c.IsCA = false; c.SubjectKeyId = []byte{1} }).ca(), "is not a CA's"},
		"may not sign":   {change(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).ca(), "no keyCertSign"},
		"says no usage":  {change(func(c *x509.Certificate) { c.KeyUsage = 0 }).ca(), "no keyCertSign"},
		// crypto/x509 makes an identifier for every CA, and so it is taken out here.
		"no identifier":     {with(root.ca(), func(ca *x5c.CA) { c := *ca.Certificate; c.SubjectKeyId = nil; ca.Certificate = &c }), "no subject key identifier"},
		"path too long":     {under.ca(root.cert), "allows 0 CAs below it (pathLenConstraint), and there are 1"},
		"another key":       {with(root.ca(), func(ca *x5c.CA) { ca.Signer = other.key }), "is for another key than the CA's on the token"},
		"wrong above":       {under.ca(other.cert), "are no chain"},
		"no certificate up": {with(under.ca(), func(ca *x5c.CA) { ca.Above = [][]byte{{1}} }), "parsing certificate 2 of 2"},
		"never together": {newAuthority(t, "late", keyspec.P256, other, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day(400), day(500) }).ca(other.cert),
			"never valid together"},
		"short key":       {short.ca(), "RSA key of 1024 bits; 2048 is the least"},
		"weak signature":  {with(root.ca(), func(ca *x5c.CA) { ca.Above = ders(sha1.cert) }), "is signed with SHA1-RSA"},
		"an ftp URL":      {with(root.ca(), func(ca *x5c.CA) { ca.CRLURLs = []string{"http://a/b", "ftp://a/b"} }), "CRL URL 2 is not one of the form"},
		"a path":          {with(root.ca(), func(ca *x5c.CA) { ca.IssuerURLs = []string{"/etc/ca.cer"} }), "issuer URL 1 is not"},
		"no host":         {with(root.ca(), func(ca *x5c.CA) { ca.IssuerURLs = []string{"http:///ca.cer"} }), "issuer URL 1 is not"},
		"a password":      {with(root.ca(), func(ca *x5c.CA) { ca.IssuerURLs = []string{"http://u:hunter2@a/b"} }), "issuer URL 1 is not"},
		"not ASCII":       {with(root.ca(), func(ca *x5c.CA) { ca.CRLURLs = []string{"http://zürich.example/"} }), "CRL URL 1 is not"},
		"the token fails": {with(root.ca(), func(ca *x5c.CA) { ca.Signer = badSigner{root.key, down} }), "CKR_DEVICE_ERROR"},
		"it signs wrong":  {with(root.ca(), func(ca *x5c.CA) { ca.Signer = badSigner{Signer: root.key} }), "signing with the key of CN=root"},
	} {
		t.Run(name, func(t *testing.T) {
			chain, err := x5c.Issue(request(), pub, tc.ca)
			if chain != nil || err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			atToken := slices.Contains([]string{"another key", "the token fails", "it signs wrong"}, name)
			if err := tc.ca.Validate(); (err == nil) != atToken {
				t.Errorf("Validate: %v", err)
			}
		})
	}
	if _, err := x5c.Issue(request(), root.key.Public(), root.ca()); err == nil || !strings.Contains(err.Error(), "is the CA's own") {
		t.Errorf("the CA's own key: %v", err)
	}
	req := request()
	req.CommonName = ""
	if _, err := x5c.Issue(req, pub, root.ca()); err == nil || !strings.Contains(err.Error(), "common name is required") {
		t.Errorf("no common name: %v", err)
	}
}
