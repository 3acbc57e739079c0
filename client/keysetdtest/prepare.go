package keysetdtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"keysetd.example/client/keysetdtest/internal/process"
	"keysetd.example/internal/dev"
	"keysetd.example/signing/door"
)

// What is in a daemon's directory.
const (
	pinFile     = "pin"
	soPINFile   = "so-pin"
	softHSMConf = "softhsm2.conf"
	tokens      = "tokens"
)

func configIn(dir string) string { return filepath.Join(dir, "keysetd.yaml") }
func socketIn(dir string) string { return filepath.Join(dir, "sock") }

// goRace: with the race detector a process would take a second to exit.
const goRace = "atexit_sleep_ms=0"

// prepare makes a daemon's directory, with all in it that the daemon's process does not make itself.
func prepare(s settings) (dir string, err error) {
	if s.module == "" {
		if s.module, err = dev.FindSoftHSM(); err != nil {
			return "", errors.New("SoftHSM is not installed; on Debian and Ubuntu: apt-get install softhsm2 (elsewhere, if it is, name its library by keysetdtest.WithModule)")
		}
	}
	if dir, err = makeDir(); err != nil {
		return "", fmt.Errorf("making a directory for keysetd: %w", err)
	}
	err = os.Mkdir(filepath.Join(dir, tokens), 0o700)
	for path, text := range map[string]string{
		configIn(dir):                   s.config(dir),
		filepath.Join(dir, softHSMConf): fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", filepath.Join(dir, tokens)),
		filepath.Join(dir, pinFile):     rand.Text() + "\n",
		filepath.Join(dir, soPINFile):   rand.Text() + "\n",
	} {
		err = errors.Join(err, os.WriteFile(path, []byte(text), 0o600))
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// makeDir makes a directory whose path is short enough for a socket in it, where t.TempDir's
// may not be.
func makeDir() (string, error) {
	dir, err := os.MkdirTemp("", "keysetdtest-")
	if err != nil || len(socketIn(dir)) <= door.MaxPath {
		return dir, err
	}
	if err := os.Remove(dir); err != nil {
		return "", err
	}
	return os.MkdirTemp("/tmp", "keysetdtest-")
}

func (s settings) config(dir string) string {
	var text strings.Builder
	fmt.Fprintf(&text, `token:
  module: %q
  label: keysetdtest
  pin: {file: %s}
  environment: {SOFTHSM2_CONF: %q, %s: %s, GORACE: %s}
store: {path: state.db}
audit: {path: audit.jsonl}
listen: {socket: %q, socket_mode: "0600", public: "127.0.0.1:0", metrics: off}
callers:
  test: {uid: %d, keysets: "*", operations: "*", algorithms: "*", client_ids: "*"}
keysets:
`, s.module, pinFile, filepath.Join(dir, softHSMConf), process.Variable, process.Worker, goRace, socketIn(dir), os.Getuid())
	for _, k := range s.keysets {
		fmt.Fprintf(&text, "  %s:\n", k.name)
		for line := range strings.Lines(k.yaml) {
			text.WriteString("    " + line)
		}
		text.WriteString("\n")
	}
	return text.String()
}
