// Package interop has what others wrote judge what keysetd signs: verifiers, an OAuth server,
// XML signature tools, the examples of the RFCs. They speak to the real daemon with a SoftHSM token.
package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// keysetd is the daemon under test, built once with the race detector.
var keysetd string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keysetd-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	keysetd = filepath.Join(dir, "keysetd")
	// In its own module: what these tests need must not change what the daemon is built of.
	if out, err := exec.Command("go", "-C", "..", "build", "-race", "-o", keysetd, "./cmd/keysetd").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building keysetd: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
