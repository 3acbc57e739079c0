package main_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The binaries under test, built once with the race detector.
var keysetd, keysetctl string

func TestMain(m *testing.M) {
	// Most tests wait most of the time. What the command line says is read later, and wins.
	flag.Set("test.parallel", "4")
	dir, err := os.MkdirTemp("", "keysetd-e2e-")
	if err != nil {
		panic(err)
	}
	keysetd, keysetctl = filepath.Join(dir, "keysetd"), filepath.Join(dir, "keysetctl")
	code := 1
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func build() error {
	for _, args := range [][]string{
		{"build", "-race", "-o", keysetd, "keysetd.example/cmd/keysetd"},
		{"build", "-o", keysetctl, "keysetd.example/cmd/keysetctl"},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

const (
	// gorace has the race detector's runtime end a process at once, and not a second later.
	gorace  = "atexit_sleep_ms=0"
	softhsm = "/usr/lib/softhsm/libsofthsm2.so"
	pin     = "pin-Zx81-of-the-test" // distinctive, so that a leak can be looked for
)

// site is one installation: a SoftHSM token, a configuration, a store.
type site struct {
	t   *testing.T
	dir string
	env []string // of the daemon, beside the test's own
	// binary is another keysetd to serve with; empty: that with the race detector.
	binary string
	// token has more lines of the token's configuration.
	token string
}

// newSite makes a token the way an administrator would.
func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "ks") // short: socket paths have 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir}
	s.write("softhsm2.conf", "directories.tokendir="+s.path("tokens")+"\nobjectstore.backend=file\nlog.level=ERROR\n")
	s.write("pin", pin+"\n")
	if err := os.Mkdir(s.path("tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.initToken("e2e")
	return s
}

func (s *site) initToken(label string) {
	s.t.Helper()
	s.tool("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "so-pin-654321")
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// configure writes keysetd.yaml: the usual token and doors, and what keysets says.
func (s *site) configure(keysets string) {
	s.t.Helper()
	s.write("keysetd.yaml", fmt.Sprintf(`
token:
  module: %s
  label: e2e
  pin: {file: pin}
  environment: {SOFTHSM2_CONF: %q, GORACE: %q}
%sstore: {path: state.db}
audit: {path: audit.jsonl}
listen: {socket: sock, socket_mode: "0600", public: 127.0.0.1:0, metrics: 127.0.0.1:0}
keysets:
%s
callers:
  test: {uid: %d, keysets: ["*"], operations: ["*"], algorithms: ["*"], client_ids: ["*"]}
`, softhsm, s.path("softhsm2.conf"), gorace, s.token, keysets, os.Getuid()))
}

// tool runs another program on the token and returns what it prints.
func (s *site) tool(name string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.path("softhsm2.conf"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// keysetd runs a command that ends by itself.
func (s *site) keysetd(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(keysetd, args...)
	cmd.Env = append(os.Environ(), "GORACE="+gorace)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

func (s *site) mustKeysetd(args ...string) string {
	s.t.Helper()
	out, stderr, err := s.keysetd(args...)
	if err != nil {
		s.t.Fatalf("keysetd %v: %v\n%s", args, err, stderr)
	}
	return out
}

// daemon is a running keysetd.
type daemon struct {
	t       *testing.T
	cmd     *exec.Cmd
	Socket  string `json:"socket"`
	Public  string `json:"public"`
	Metrics string `json:"metrics"`

	mu     sync.Mutex
	log    bytes.Buffer
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// serve starts `keysetd serve` and waits until it says that it is ready.
func (s *site) serve() *daemon { return s.start("ready") }

// start starts `keysetd serve` and waits until it logs message, which carries its addresses.
func (s *site) start(message string) *daemon {
	s.t.Helper()
	d := &daemon{t: s.t, exited: make(chan struct{})}
	d.cmd = exec.Command(cmp.Or(s.binary, keysetd), "serve", "-c", s.path("keysetd.yaml"))
	d.cmd.Dir = s.dir // with the race detector a worker that ends runs destructors of the module's, which may write anywhere
	d.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1 exitcode=66 "+gorace)
	d.cmd.Env = append(d.cmd.Env, s.env...)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	go d.follow(stderr, message, ready)
	s.t.Cleanup(func() {
		d.stop()
		if s.t.Failed() {
			s.t.Logf("what this daemon said last:\n%s", lastLines(d.logged(), 30))
		}
	})
	select {
	case <-ready:
	case <-d.exited:
		s.t.Fatalf("keysetd ended before it was %s: %v\n%s", message, d.err, d.logged())
	case <-time.After(time.Minute):
		s.t.Fatalf("keysetd is not %s after a minute\n%s", message, d.logged())
	}
	return d
}

func (d *daemon) follow(stderr io.Reader, message string, ready chan struct{}) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d.mu.Lock()
		d.log.WriteString(lines.Text() + "\n")
		d.mu.Unlock()
		var l struct{ Msg string }
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == message {
			json.Unmarshal(lines.Bytes(), d)
			close(ready)
		}
	}
	d.err = d.cmd.Wait()
	close(d.exited)
}

func (d *daemon) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// stop ends the daemon as systemd would, and checks that it ended well.
func (d *daemon) stop() {
	d.t.Helper()
	select {
	case <-d.exited:
		return
	default:
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(20 * time.Second):
		d.cmd.Process.Kill()
		<-d.exited
		d.t.Errorf("keysetd did not end within 20 s of SIGTERM\n%s", d.logged())
	}
	if d.err != nil {
		d.t.Errorf("keysetd ended with %v\n%s", d.err, d.logged())
	}
}

// get fetches a page and returns its body.
func get(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %v %v\n%s", url, resp.Status, err, b)
	}
	return b
}

func (d *daemon) jwks(keyset string) jose.JSONWebKeySet {
	d.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(get(d.t, "http://"+d.Public+"/keysets/"+keyset+"/jwks.json"), &set); err != nil {
		d.t.Fatal(err)
	}
	return set
}

func kids(set jose.JSONWebKeySet) []string {
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k.KeyID)
	}
	return ids
}

// call speaks HTTP and JSON over the socket, as a service in any language would.
func (d *daemon) call(method, path, body string) (status int, reply map[string]any) {
	d.t.Helper()
	status, reply, err := d.tryCall(method, path, body)
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s", method, path, err, d.logged())
	}
	return status, reply
}

func (d *daemon) tryCall(method, path, body string) (int, map[string]any, error) {
	c := http.Client{
		Timeout: 15 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
		}},
	}
	req, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	reply := map[string]any{}
	err = json.NewDecoder(resp.Body).Decode(&reply)
	return resp.StatusCode, reply, err
}

// eventually asks until ok, and fails the test if that does not come within limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// ctl runs keysetctl against the daemon and returns what it prints.
func (d *daemon) ctl(args ...string) string {
	d.t.Helper()
	out, stderr, err := d.tryCtl(args...)
	if err != nil {
		d.t.Fatalf("keysetctl %v: %v\n%s", args, err, stderr)
	}
	return out
}
