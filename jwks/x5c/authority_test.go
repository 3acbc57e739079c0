package x5c_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

// authority is a CA of somebody else's PKI, which does what a test has it do.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes a CA under parent, or a root where that is nil, with a key of its own;
// change may be nil.
func newAuthority(t testing.TB, name string, spec keyspec.Spec, parent *authority, change func(*x509.Certificate)) *authority {
	t.Helper()
	signer, err := newKey(spec)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"Corp"}, CommonName: name},
		NotBefore: noon.Add(-24 * time.Hour), NotAfter: noon.Add(365 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent = &authority{cert: template, key: signer}
	}
	return &authority{cert: parent.sign(t, template, signer.Public()), key: signer}
}

func (a *authority) sign(t testing.TB, template *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// leaf has a certify pub as it was asked to in request(), but for change, which may be nil.
func (a *authority) leaf(t testing.TB, pub crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	req := request()
	template := &x509.Certificate{
		Subject: pkix.Name{
			Country: []string{"CH"}, Province: []string{"ZH"}, Locality: []string{"Zürich"},
			Organization: []string{"Example"}, OrganizationalUnit: []string{"Tokens"}, CommonName: req.CommonName,
		},
		NotBefore: noon, NotAfter: noon.Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	return a.sign(t, template, pub)
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

func ders(certs ...*x509.Certificate) [][]byte {
	var out [][]byte
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// opensslVerifies has openssl verify a chain up to root an hour after noon.
func opensslVerifies(t *testing.T, chain [][]byte, root *x509.Certificate) {
	t.Helper()
	args := []string{"verify", "-x509_strict", "-check_ss_sig", "-attime", strconv.FormatInt(noon.Add(time.Hour).Unix(), 10), "-CAfile", write(t, x5c.EncodePEM(ders(root)))}
	if len(chain) > 1 {
		args = append(args, "-untrusted", write(t, x5c.EncodePEM(chain[1:])))
	}
	openssl(t, append(args, write(t, x5c.EncodePEM(chain[:1])))...)
}
