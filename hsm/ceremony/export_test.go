package ceremony

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/ThalesIgnite/crypto11"
)

// ImportCertificate lays a certificate onto a token, as an administrator would.
func ImportCertificate(t *testing.T, module, conf, token, pin, label string, der []byte) {
	t.Helper()
	t.Setenv("SOFTHSM2_CONF", conf)
	c, err := crypto11.Configure(&crypto11.Config{Path: module, TokenLabel: token, Pin: pin, MaxSessions: maxSessions})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ImportCertificateWithLabel(newID(), []byte(label), cert); err != nil {
		t.Fatal(err)
	}
}

// Reseal changes a record and has its key sign it again, as somebody would who holds the key's token.
func Reseal(t *testing.T, dir string, key crypto.Signer, change func(*Record)) {
	t.Helper()
	var r Record
	if _, err := read(dir, recordBase, recordFormat, &r, &r.Statement); err != nil {
		t.Fatal(err)
	}
	change(&r)
	text, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := seal(text, r.Key.Spec, recordFormat, key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, content := range map[string][]byte{".json": text, ".jws": sealed, ".txt": []byte(r.Text())} {
		if err := os.WriteFile(filepath.Join(dir, recordBase+suffix), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
