package hsmtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

// NSS makes a token of NSS softokn, below t.TempDir(), and returns what hsm.Start needs to use it. A
// machine without NSS or certutil skips the test.
func NSS(t testing.TB) hsm.Config {
	t.Helper()
	var module string
	for _, pattern := range []string{"/usr/lib/*/libsoftokn3.so", "/usr/lib64/libsoftokn3.so", "/usr/lib/*/nss/libsoftokn3.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			module = found[0]
		}
	}
	certutil, err := exec.LookPath("certutil")
	if module == "" || err != nil {
		t.Skip("NSS softokn and certutil are not both here (Debian: libnss3, libnss3-tools)")
	}
	dir := t.TempDir()
	db, pinFile := filepath.Join(dir, "db"), filepath.Join(dir, "pin")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pinFile, []byte(rand.Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(certutil, "-N", "-d", "sql:"+db, "-f", pinFile).CombinedOutput(); err != nil {
		t.Fatalf("make an NSS database: %v: %s", err, out)
	}
	const label = "keysetd-test"
	return hsm.Config{
		Name: label,
		Open: wire.OpenRequest{
			Module: module, Label: label,
			Reserved: fmt.Sprintf("configdir='sql:%s' certPrefix='' keyPrefix='' secmod='secmod.db' dbTokenDescription='%s' flags=", db, label),
		},
		Environment: map[string]string{"GORACE": goRace},
		PIN:         hsm.FilePIN(pinFile),
		PINSource:   hsm.FilePINSource(pinFile),
		Marker:      &hsm.PINMarker{Path: filepath.Join(dir, "pin-marker")},
	}
}
