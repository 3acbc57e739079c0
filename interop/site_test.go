package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	softhsm = "/usr/lib/softhsm/libsofthsm2.so"
	label   = "interop"
	pin     = "pin-of-the-interop-tests"
	// gorace has the race detector's runtime end a process at once, and not a second later.
	gorace = "atexit_sleep_ms=0"
)

// site is one installation: a SoftHSM token, a configuration, a store.
type site struct {
	t   *testing.T
	dir string
	// token has more lines of the token's configuration.
	token string
}

// newSite makes a token the way an administrator would.
func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "ki") // short: socket paths have 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir}
	if err := os.Mkdir(s.path("tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("softhsm2.conf", "directories.tokendir="+s.path("tokens")+"\nobjectstore.backend=file\nlog.level=ERROR\n")
	s.write("pin", pin+"\n")
	s.tool("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-pin-of-these-tests")
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a program on the token.
func (s *site) run(name string, args ...string) (out string, err error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.path("softhsm2.conf"), "GORACE="+gorace)
	raw, err := cmd.CombinedOutput()
	return string(raw), err
}

// tool runs a program that must succeed.
func (s *site) tool(name string, args ...string) {
	s.t.Helper()
	if out, err := s.run(name, args...); err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// begin configures these keysets, makes their keys and runs the daemon until the test ends.
func (s *site) begin(keysets string) *daemon {
	s.t.Helper()
	s.configure(keysets)
	s.tool(keysetd, "init", "-c", s.path("keysetd.yaml"))
	return s.serve()
}

// configure writes a configuration in which whoever runs the test may do everything.
func (s *site) configure(keysets string) {
	s.t.Helper()
	s.write("keysetd.yaml", fmt.Sprintf(`
token:
  module: %s
  label: %s
  pin: {file: pin}
  environment: {SOFTHSM2_CONF: %q, GORACE: %q}
%sstore: {path: state.db}
audit: {path: audit.jsonl}
listen: {socket: sock, socket_mode: "0600", public: 127.0.0.1:0, metrics: off}
keysets:
%s
callers:
  test: {uid: %d, keysets: "*", operations: "*", rate: 10000, algorithms: "*", client_ids: "*"}
`, softhsm, label, s.path("softhsm2.conf"), gorace, s.token, keysets, os.Getuid()))
}
