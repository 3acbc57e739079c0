package hsm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilePIN(t *testing.T) {
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want, err     string
	}{
		{"plain", "s3cr-t", 0o600, "s3cr-t", ""},
		{"newline", "s3cr-t\n", 0o600, "s3cr-t", ""},
		{"credential", "s3cr-t\n", 0o400, "s3cr-t", ""},
		{"one newline only", "s3cr-t\n\n", 0o600, "s3cr-t\n", ""},
		{"empty", "", 0o600, "", "is empty"},
		{"only a newline", "\n", 0o600, "", "is empty"},
		{"group", "s3cr-t", 0o640, "", "chmod 600"},
		{"world", "s3cr-t", 0o604, "", "chmod 600"},
		{"long", strings.Repeat("1", maxPIN+1), 0o600, "", "longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pin")
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			pin, err := FilePIN(path)(t.Context())
			if string(pin) != c.want {
				t.Errorf("PIN %q, want %q", pin, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr-t") {
				t.Errorf("the error %v holds the PIN", err)
			}
		})
	}
	if _, err := FilePIN(t.TempDir())(t.Context()); err == nil {
		t.Error("a directory was read as a PIN")
	}
}

func TestFilePINSourceChangesWithTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin")
	source := FilePINSource(path)
	if _, err := source(); err == nil {
		t.Error("an absent file has an identity")
	}
	identity := func(content string) string {
		t.Helper()
		if err := replaceFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		a, err := source()
		b, err2 := source()
		if err != nil || err2 != nil || a != b || a == "" {
			t.Fatalf("identities %q (%v) and %q (%v) of one file", a, err, b, err2)
		}
		return a
	}
	if identity("s3cr-t") == identity("4321") {
		t.Error("the identity stayed when the file was replaced")
	}
}
