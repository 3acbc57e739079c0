package hsmtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

// Where distributions put SoftHSM.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
}

// Soft is a SoftHSM token that nobody else uses.
type Soft struct {
	Module  string // path of the library
	Conf    string // path of softhsm2.conf; what SOFTHSM2_CONF must say
	Label   string
	PINFile string // holds the user's PIN, mode 0600
	Marker  string // path of the PIN marker
}

// SoftHSM makes a token below t.TempDir(), with random PINs. A machine without SoftHSM
// fails the test.
func SoftHSM(t testing.TB) *Soft {
	t.Helper()
	dir := t.TempDir()
	s := &Soft{
		Module:  find(t, "SoftHSM", "softhsm2", modules),
		Conf:    filepath.Join(dir, "softhsm2.conf"),
		Label:   "keysetd-test",
		PINFile: filepath.Join(dir, "pin"),
		Marker:  filepath.Join(dir, "pin-marker"),
	}
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens)
	pin := rand.Text()
	for path, content := range map[string]string{s.Conf: conf, s.PINFile: pin + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := hsm.InitToken(ctx, s.Config(), s.Label, []byte(rand.Text()), []byte(pin)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Config returns what hsm.Start needs to use the token, with this program as the worker. Its marker
// is the token's: all Configs share it.
func (s *Soft) Config() hsm.Config {
	return hsm.Config{
		Name: s.Label,
		Open: wire.OpenRequest{Module: s.Module, Label: s.Label},
		Environment: map[string]string{
			"SOFTHSM2_CONF": s.Conf,
			"GORACE":        goRace,
		},
		PIN:       hsm.FilePIN(s.PINFile),
		PINSource: hsm.FilePINSource(s.PINFile),
		Marker:    &hsm.PINMarker{Path: s.Marker},
	}
}

// goRace: a worker with the race detector would take a second to exit.
const goRace = "atexit_sleep_ms=0"

// find returns the one of these files that is there.
func find(t testing.TB, what, debian string, paths []string) string {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: none of %v is there (Debian: apt-get install %s)", what, paths, debian)
	return ""
}
