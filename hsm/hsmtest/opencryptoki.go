package hsmtest

import (
	"bufio"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

//go:embed opencryptoki.sh
var openCryptokiScript string

// OpenCryptoki makes a software token of openCryptoki with a slot daemon of its own, in namespaces that
// the worker enters too, and returns what hsm.Start needs to use it. A machine without
// openCryptoki, or where namespaces are refused, skips the test.
func OpenCryptoki(t testing.TB) hsm.Config {
	t.Helper()
	modules, _ := filepath.Glob("/usr/lib*/*/pkcs11/libopencryptoki.so")
	for _, tool := range []string{"pkcsslotd", "pkcsconf", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil || len(modules) == 0 {
			t.Skip("openCryptoki is not here, or not all of it (Debian: opencryptoki)")
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const label = "keysetd-test"
	dir := t.TempDir()
	pinFile := filepath.Join(dir, "pin")
	number, err := rand.Int(rand.Reader, big.NewInt(1e8)) // its longest PIN has 8 characters
	if err != nil {
		t.Fatal(err)
	}
	pin := fmt.Sprintf("%08d", number)
	if err := os.WriteFile(pinFile, []byte(pin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	holder := holdNamespaces(t, dir, label, pin)
	return hsm.Config{
		Name: label,
		// nsenter becomes the worker, with the same process id.
		Command:     []string{"nsenter", "--preserve-credentials", "-U", "-m", "-i", "-t", strconv.Itoa(holder), self, "token"},
		Open:        wire.OpenRequest{Module: modules[0], Label: label},
		Environment: map[string]string{"GORACE": goRace},
		PIN:         hsm.FilePIN(pinFile),
		PINSource:   hsm.FilePINSource(pinFile),
		Marker:      &hsm.PINMarker{Path: filepath.Join(dir, "pin-marker")},
	}
}

// holdNamespaces runs the script, which makes the token and holds its namespaces until its input
// ends: when the test does, or this process.
func holdNamespaces(t testing.TB, dir, label, pin string) (pid int) {
	t.Helper()
	cmd := exec.Command("unshare", "-U", "-r", "-m", "-i", "sh", "-c", openCryptokiScript, "sh", dir, label, pin)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if line == "ready\n" {
			break
		}
		said += line
		if err != nil {
			in.Close()
			cmd.Wait()
			t.Skipf("openCryptoki cannot be set up here: %s", said)
		}
	}
	t.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	return cmd.Process.Pid
}
