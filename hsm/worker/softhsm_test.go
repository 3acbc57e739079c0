package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/harden"
	"keysetd.example/internal/keyspec"
)

const (
	softHSM = "/usr/lib/softhsm/libsofthsm2.so"
	label   = "keysetd"
	userPIN = "user-pin-correct-horse-battery"
	soPIN   = "so-pin-staple-correct-horse"
)

// The test binary is its own worker, as keysetd is: SoftHSM reads its environment once.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "token" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// tokenDir makes the directory of a SoftHSM with no token in it.
func tokenDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("directories.tokendir=%s/tokens\nobjectstore.backend=file\nlog.level=ERROR\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "softhsm2.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// socketPair returns the daemon's end, and the worker's as a child inherits it.
func socketPair(t testing.TB) (net.Conn, *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "daemon"), os.NewFile(uintptr(fds[1]), "worker")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	return conn, theirs
}

// process is a worker process and the daemon's end of its socket.
type process struct {
	*wire.Client
	cmd    *exec.Cmd
	exited chan struct{}
	killed bool         // by the test
	stderr bytes.Buffer // to be read when it has exited
}

// start starts a worker on the SoftHSM in dir. At the test's end it must have exited,
// or exit then, with code 0 and without a word: the race detector speaks there too.
func start(t testing.TB, dir string, env ...string) *process {
	t.Helper()
	conn, theirs := socketPair(t)
	p := &process{cmd: exec.Command("/proc/self/exe", "token"), exited: make(chan struct{})}
	p.cmd.Env = append([]string{
		"SOFTHSM2_CONF=" + dir + "/softhsm2.conf", "SOFTHSM=" + softHSM,
		"GORACE=atexit_sleep_ms=0", // the race detector else waits a second at each exit
	}, env...)
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stderr = &p.stderr
	if err := harden.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		conn.Close()
		p.wait(t)
		if code := p.cmd.ProcessState.ExitCode(); !p.killed && (code != 0 || p.stderr.Len() > 0) {
			t.Errorf("the worker exited with %d and said %q", code, p.stderr.String())
		}
	})
	var hello wire.Hello
	var err error
	if p.Client, hello, err = wire.NewClient(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if hello.PID != p.cmd.Process.Pid {
		t.Errorf("hello has PID %d, the process %d", hello.PID, p.cmd.Process.Pid)
	}
	return p
}

func (p *process) wait(t testing.TB) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.exited
		t.Error("the worker did not exit")
	}
}

// newToken starts a worker, makes a token and logs in with n sessions.
func newToken(t testing.TB, n int, env ...string) (p *process, dir string) {
	t.Helper()
	dir = tokenDir(t)
	p = start(t, dir, env...)
	module := softHSM
	if len(env) > 0 {
		module = faultModule(t)
	}
	if _, _, err := p.Open(t.Context(), wire.OpenRequest{Module: module, Label: label}); reasonOf(err) != wire.TokenMissing {
		t.Fatalf("open a SoftHSM without tokens: %v", err)
	}
	if _, err := p.initToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.login(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return p, dir
}

func (p *process) initToken(ctx context.Context) (wire.TokenInfo, error) {
	info, _, err := p.InitToken(ctx, wire.InitTokenRequest{Label: label, SOPIN: []byte(soPIN), PIN: []byte(userPIN)})
	return info, err
}

func (p *process) login(ctx context.Context, n int) error {
	if _, err := p.Prepare(ctx, wire.PrepareRequest{Sessions: n}); err != nil {
		return err
	}
	_, err := p.Login(ctx, wire.LoginRequest{PIN: []byte(userPIN)})
	return err
}

// reopen starts another worker on a token that newToken made.
func reopen(t testing.TB, dir string) *process {
	t.Helper()
	p := start(t, dir)
	if _, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label}); err != nil {
		t.Fatal(err)
	}
	if err := p.login(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) generate(t testing.TB, id string, spec keyspec.Spec) wire.Object {
	t.Helper()
	o, _, err := p.Generate(t.Context(), wire.GenerateRequest{ID: []byte(id), Label: "keysetd:" + id, Spec: spec, Usage: wire.Sign})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func errorOf(err error) wire.Error {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return *e
	}
	return wire.Error{}
}

func reasonOf(err error) wire.Reason { return errorOf(err).Reason }

var buildFault = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "keysetd-fault")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "fault.so")
	if msg, err := exec.Command("cc", "-std=gnu11", "-shared", "-fPIC", "-w", "-o", out, "testdata/fault.c", "-ldl").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the fault module: %w: %s", err, msg)
	}
	so, err := os.ReadFile(out)
	return string(so), err
})

// faultModule is SoftHSM with the fault that the worker's environment names.
func faultModule(t testing.TB) string {
	t.Helper()
	so, err := buildFault()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fault.so")
	if err := os.WriteFile(path, []byte(so), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
