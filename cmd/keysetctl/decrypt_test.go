package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
)

func TestDecrypt(t *testing.T) {
	w, _ := serve(t)
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: w.EncKeys[keyspec.P256].Public(), KeyID: "enc-p-256"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Encrypt([]byte("a\x00secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := m.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "m.jwe")
	if err := os.WriteFile(file, []byte(compact+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustCtl(t, compact, "decrypt", "enc"); out != "a\x00secret\n" {
		t.Errorf("from standard input: %q", out)
	}
	if out := mustCtl(t, "", "decrypt", "enc", file); out != "a\x00secret\n" {
		t.Errorf("from a file: %q", out)
	}
	if out := mustCtl(t, compact, "--json", "decrypt", "enc"); !strings.Contains(out, `"plaintext": "YQBzZWNyZXQK"`) || !strings.Contains(out, `"kid": "enc-p-256"`) {
		t.Errorf("JSON: %s", out)
	}
	for _, bad := range []string{"", "a.b.c.d.e", compact[:len(compact)-2]} {
		if out, err := ctl(t, bad, "decrypt", "enc"); err == nil || out != "" {
			t.Errorf("%.10q: %q, %v", bad, out, err)
		}
	}
	if _, err := ctl(t, compact, "decrypt"); err == nil || exitCode(err) != 2 {
		t.Errorf("without a keyset: %v", err)
	}
}
