package ceremony_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/ceremony"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/internal/keyspec"
)

func TestMain(m *testing.M) { hsmtest.Main(m) }

// The tests do not run side by side: crypto11 finalises the module for the whole process.

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func place(soft *hsmtest.Soft) ceremony.Place {
	return ceremony.Place{Token: soft.Config(), Now: time.Now()}
}

func plan(t *testing.T) ceremony.Plan {
	t.Helper()
	subject, err := ceremony.ParseSubject("CN=Example Tokens CA, O=Example\\, Inc., C=CH")
	if err != nil {
		t.Fatal(err)
	}
	return ceremony.Plan{
		Name: "corp", Label: "issuing", Spec: keyspec.P256, Subject: subject, Days: 365, Dir: filepath.Join(t.TempDir(), "corp"),
		People: ceremony.People{UID: 1000, User: "alice", SudoUser: "alice", Host: "hsm1", Witnesses: []string{"Bob", "Carol"}},
	}
}

// keys of a token, as a worker of its own sees them now.
func keys(t *testing.T, soft *hsmtest.Soft) (*hsm.Token, []hsm.Object) {
	t.Helper()
	token, err := hsm.Start(soft.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close(context.Background()) })
	objects, err := token.Objects(within(t), "")
	if err != nil {
		t.Fatal(err)
	}
	return token, objects
}

// signer is the CA's key as a daemon has it.
func signer(t *testing.T, soft *hsmtest.Soft) crypto.Signer {
	t.Helper()
	token, objects := keys(t, soft)
	o, err := hsm.Find(objects, hsm.Ref{Label: "issuing"}, hsm.Sign, nil)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	k, err := token.Key(hsm.Ref{ID: o.ID, Label: o.Label}, pub)
	if err != nil {
		t.Fatal(err)
	}
	return k.Signer(within(t))
}

func certificate(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s is no PEM:\n%s", file, text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// leaf is issued by the CA's key on the token.
func leaf(t *testing.T, ca *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, NotBefore: ca.NotBefore, NotAfter: ca.NotBefore.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, software(t).Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func write(t *testing.T, path string, blocks ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	for _, der := range blocks {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func openssl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(within(t), "openssl", args...).CombinedOutput(); err != nil {
		t.Errorf("openssl %v: %v\n%s", args, err, out)
	}
}

// From root to leaf: the CA is made, its record verified, from the files alone and on the token, and its key
// issues a certificate that crypto/x509 and openssl accept under it.
func TestSelfSignedCA(t *testing.T) {
	for _, spec := range []keyspec.Spec{keyspec.P256, keyspec.P384, keyspec.P521, keyspec.RSA3072} {
		t.Run(string(spec), func(t *testing.T) {
			soft := hsmtest.SoftHSM(t)
			p := plan(t)
			p.Spec = spec
			made, err := ceremony.Create(within(t), place(soft), p)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []func() (ceremony.Ceremony, error){
				func() (ceremony.Ceremony, error) { return ceremony.Verify(p.Dir) },
				func() (ceremony.Ceremony, error) { return ceremony.VerifyOnToken(within(t), place(soft), p.Dir) },
			} {
				if found, err := c(); err != nil || found.Import != nil || found.Record.Text() != made.Text() {
					t.Errorf("verified as %+v, %v", found, err)
				}
			}
			files, err := os.ReadDir(p.Dir)
			if err != nil || len(files) != 4 {
				t.Errorf("the directory holds %v, %v", files, err)
			}
			for _, want := range []string{"alice (uid 1000) on hsm1, by sudo from alice", "Bob", "Carol", made.Certificate.SHA256, made.Key.SPKISHA256, made.Token.Serial, made.Module.SHA256, "CKA_EXTRACTABLE        false", "CKA_SIGN               true", "CKA_DECRYPT            false"} {
				if !strings.Contains(made.Text(), want) {
					t.Errorf("the record does not show %q:\n%s", want, made.Text())
				}
			}
			ca := certificate(t, filepath.Join(p.Dir, "certificate.pem"))
			if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || ca.Subject.String() != `CN=Example Tokens CA,O=Example\, Inc.,C=CH` {
				t.Errorf("CA %v, path length %d, usage %b, subject %s", ca.IsCA, ca.MaxPathLen, ca.KeyUsage, ca.Subject)
			}
			cert := leaf(t, ca, signer(t, soft))
			roots := x509.NewCertPool()
			roots.AddCert(ca)
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				t.Error(err)
			}
			openssl(t, "verify", "-x509_strict", "-CAfile", filepath.Join(p.Dir, "certificate.pem"), write(t, filepath.Join(t.TempDir(), "leaf.pem"), cert.Raw))
		})
	}
}

// Nothing that exists is overwritten, on the token or on disk, and what refuses leaves nothing behind.
func TestNothingIsOverwritten(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	first := plan(t)
	if _, err := ceremony.Create(within(t), place(soft), first); err != nil {
		t.Fatal(err)
	}
	before := files(t, first.Dir)
	same := plan(t) // the label, in another directory
	if _, err := ceremony.Create(within(t), place(soft), same); err == nil || !strings.Contains(err.Error(), "nothing that exists is made over") {
		t.Errorf("the same label: %v", err)
	}
	if left := files(t, same.Dir); len(left) != 0 {
		t.Errorf("the one that refused left %v", left)
	}
	other := plan(t)
	other.Label, other.Dir = "another", first.Dir
	if _, err := ceremony.Create(within(t), place(soft), other); err == nil || !strings.Contains(err.Error(), "nothing is overwritten") {
		t.Errorf("the same directory: %v", err)
	}
	if after := files(t, first.Dir); len(after) != len(before) || after["record.jws"] != before["record.jws"] {
		t.Error("the first ceremony's files changed")
	}
	if _, objects := keys(t, soft); len(objects) != 1 || objects[0].Label != "issuing" {
		t.Errorf("the token holds %+v", objects)
	}
}

// A ceremony that fails after the key was made takes the key and its files away again.
func TestAFailureLeavesNothing(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	p := plan(t)
	there := place(soft)
	there.Now = time.Date(9999, 12, 1, 0, 0, 0, 0, time.UTC) // no certificate can say when it ends
	if _, err := ceremony.Create(within(t), there, p); err == nil || !strings.Contains(err.Error(), "issue the CA's certificate") {
		t.Fatalf("a CA that is valid into the year 10000: %v", err)
	}
	if left := files(t, p.Dir); len(left) != 0 {
		t.Errorf("left in the directory: %v", left)
	}
	if _, objects := keys(t, soft); len(objects) != 0 {
		t.Errorf("left on the token: %+v", objects)
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(b)
	}
	return found
}
