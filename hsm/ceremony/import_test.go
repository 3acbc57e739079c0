package ceremony_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm/ceremony"
	"keysetd.example/hsm/hsmtest"
)

func asked(t *testing.T) (*hsmtest.Soft, ceremony.Plan) {
	t.Helper()
	soft := hsmtest.SoftHSM(t)
	p := plan(t)
	p.CSR, p.Days = true, 0
	if _, err := ceremony.Create(within(t), place(soft), p); err != nil {
		t.Fatal(err)
	}
	return soft, p
}

// From the corporate root to leaf, with openssl as the root: the request, the chain that comes back, and a
// certificate under it.
func TestChainOfCorporateRoot(t *testing.T) {
	soft, p := asked(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	openssl(t, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", at("root.key"), "-out", at("root.pem"),
		"-subj", "/CN=Corporate Root/O=Example/C=CH", "-days", "10", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
	openssl(t, "req", "-in", filepath.Join(p.Dir, "request.pem"), "-verify", "-noout")
	openssl(t, "x509", "-req", "-in", filepath.Join(p.Dir, "request.pem"), "-CA", at("root.pem"), "-CAkey", at("root.key"), "-copy_extensions", "copyall", "-days", "5", "-out", at("issued.pem"))
	root, issued := certificate(t, at("root.pem")), certificate(t, at("issued.pem"))
	if !issued.IsCA || !issued.MaxPathLenZero || issued.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("openssl issued CA %v, path length %d, usage %b", issued.IsCA, issued.MaxPathLen, issued.KeyUsage)
	}
	text, err := os.ReadFile(write(t, at("chain.pem"), issued.Raw, root.Raw))
	if err != nil {
		t.Fatal(err)
	}
	there := place(soft)
	there.Now = time.Now().Add(time.Second) // openssl's certificates begin now
	done, err := ceremony.TakeIn(within(t), there, p.Dir, text, p.People)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Chain) != 2 || done.Expired(time.Now().Add(time.Second)) != "" || !strings.Contains(done.Expired(time.Now().AddDate(0, 0, 6)), "Example Tokens CA") {
		t.Errorf("imported %+v", done.Chain)
	}
	found, err := ceremony.VerifyOnToken(within(t), place(soft), p.Dir)
	if err != nil || found.Import == nil || found.Import.Text() != done.Text() {
		t.Errorf("verified as %+v, %v", found.Import, err)
	}
	cert := leaf(t, issued, signer(t, soft))
	openssl(t, "verify", "-x509_strict", "-CAfile", at("root.pem"), "-untrusted", filepath.Join(p.Dir, "chain.pem"), write(t, at("leaf.pem"), cert.Raw))
	// Once more is once too often.
	if _, err := ceremony.TakeIn(within(t), there, p.Dir, text, p.People); err == nil || !strings.Contains(err.Error(), "nothing is overwritten") {
		t.Errorf("imported twice: %v", err)
	}
}

func TestSelfSignedImportsNothing(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	p := plan(t)
	if _, err := ceremony.Create(within(t), place(soft), p); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(p.Dir, "certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.TakeIn(within(t), place(soft), p.Dir, text, p.People); err == nil || !strings.Contains(err.Error(), "asked nobody") {
		t.Errorf("got %v", err)
	}
}

// Chains that are no good change nothing, and the token is not asked.
func TestBadChains(t *testing.T) {
	soft, p := asked(t)
	request, err := os.ReadFile(filepath.Join(p.Dir, "request.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	rootKey, other := software(t), software(t)
	root := func(change func(*x509.Certificate)) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLen: 1,
		}
		change(c)
		return c
	}
	sub := func(change func(*x509.Certificate)) *x509.Certificate {
		return root(func(c *x509.Certificate) { c.Subject, c.MaxPathLen = csr.Subject, -1; change(c) })
	}
	as := func(*x509.Certificate) {}
	issue := func(c, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	chain := func(c, r *x509.Certificate) [][]byte {
		return [][]byte{issue(c, r, csr.PublicKey, rootKey), issue(r, r, rootKey.Public(), rootKey)}
	}
	good := chain(sub(as), root(as))
	forged := bytes.Clone(good[0])
	forged[len(forged)-1] ^= 1
	before := files(t, p.Dir)
	for name, tc := range map[string]struct {
		chain [][]byte
		want  string
	}{
		"nothing":          {nil, "0 PEM blocks"},
		"another key":      {[][]byte{issue(sub(as), root(as), other.Public(), rootKey), good[1]}, "another key"},
		"the root first":   {[][]byte{good[1], good[0]}, "another key"},
		"one missing":      {[][]byte{good[0], issue(root(as), root(as), other.Public(), other)}, "unknown authority"},
		"forged":           {[][]byte{forged, good[1]}, "checking the certificate chain"},
		"no CA":            {chain(sub(func(c *x509.Certificate) { c.IsCA = false }), root(as)), "is not a CA's"},
		"no certSign":      {chain(sub(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), root(as)), "may not sign certificates"},
		"expired":          {chain(sub(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), root(as)), "expired"},
		"not yet":          {chain(sub(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }), root(as)), "not yet valid"},
		"root allows none": {chain(sub(as), root(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })), "allows 0 CAs below it and there are 1"},
	} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			for _, der := range tc.chain {
				pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der})
			}
			there := place(soft)
			there.Token.Open.Module = "/nonexistent"
			_, err := ceremony.TakeIn(within(t), there, p.Dir, text.Bytes(), p.People)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	if after := files(t, p.Dir); len(after) != len(before) {
		t.Errorf("left %v", after)
	}
	var text bytes.Buffer
	for _, der := range good {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	if _, err := ceremony.TakeIn(within(t), place(soft), p.Dir, text.Bytes(), p.People); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
