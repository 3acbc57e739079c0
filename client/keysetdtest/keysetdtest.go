// Package keysetdtest gives the tests of other projects a running keysetd, on a SoftHSM token of
// its own:
//
//	func TestLogin(t *testing.T) {
//		d := keysetdtest.Start(t)
//		c := d.Client(t)
//		reply, err := c.SignJWT(t.Context(), "default", …)
//		// verified with d.JWKSURL("default")
//
// It needs SoftHSM (Debian: apt-get install softhsm2), cgo, Linux, and no TestMain. Each daemon has a
// directory, a socket and a port of its own, so tests may run in parallel.
//
// The daemon is a process of its own, and so is its worker: both are the test binary, started once more
// and caught in this package's init, before any test. In the test's process nothing is changed: what
// keysetd does to its process (no tracing, no core dumps, what SIGHUP does) is for good, and would be
// another project's surprise. A daemon ends with its test binary, however that ends, and
// removes its directory.
package keysetdtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keysetd.example/client"
	"keysetd.example/client/keysetdtest/internal/process"
)

const (
	startLimit = time.Minute      // RSA keys on a machine that has other things to do
	stopLimit  = 20 * time.Second // keysetd's own limits, and some
)

// Daemon is a running keysetd. Its methods may be called from many goroutines.
type Daemon struct {
	// Socket that it listens on; what client.Dial takes, and client.SocketVariable names.
	Socket string

	public string // address of the public pages
	dir    string
	cmd    *exec.Cmd
	stdin  io.Closer // closed, it tells the daemon to stop
	log    buffer
	exited chan struct{} // closed after err is set
	err    error         // of cmd.Wait
	close  func() error
}

// Start starts a daemon and stops it when the test is over. The test fails if it does not start, or
// does not stop well.
func Start(t testing.TB, options ...Option) *Daemon {
	t.Helper()
	d, err := Launch(t.Context(), options...)
	if err != nil {
		t.Fatal("starting keysetd: ", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error("stopping keysetd: ", err)
		} else if t.Failed() {
			t.Logf("what keysetd said last:\n%s", lastLines(d.Log()))
		}
	})
	return d
}

// Launch is Start where there is no test, as in a TestMain or an Example. Close is to be called, though
// a daemon ends by itself when the process does.
func Launch(ctx context.Context, options ...Option) (*Daemon, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("keysetd is not ready after %v", startLimit))
	defer cancel()
	dir, err := prepare(newSettings(options))
	if err != nil {
		return nil, err
	}
	d := &Daemon{Socket: socketIn(dir), dir: dir, exited: make(chan struct{})}
	d.close = sync.OnceValue(d.stop)
	ready, err := d.start()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	select {
	case r := <-ready:
		if d.public = r.Public; r.Error == "" && r.Public != "" {
			return d, nil
		}
		err = errors.New(r.Error)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	d.kill()
	if log := lastLines(d.Log()); log != "" {
		err = fmt.Errorf("%w; what it said last:\n%s", err, log)
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

// start starts the process, whose one report comes through ready.
func (d *Daemon) start() (ready <-chan report, err error) {
	d.cmd = exec.Command("/proc/self/exe", "keysetd", d.dir)
	d.cmd.Env = append(slices.DeleteFunc(os.Environ(), notForTheDaemon), process.Variable+"="+process.Daemon, "GORACE=halt_on_error=1 "+goRace)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C is for the test, and its end is the daemon's
	d.cmd.Stderr = &d.log
	d.cmd.WaitDelay = time.Second // for a worker that is left behind with standard error
	stdin, err := d.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, stdin.Close())
	}
	d.stdin = stdin
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the test binary once more: %w", err)
	}
	said := make(chan report, 1)
	go func() {
		var r report
		if err := json.NewDecoder(stdout).Decode(&r); err != nil {
			r = report{Error: "it ended before it was ready"}
		}
		said <- r
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	return said, nil
}

// notForTheDaemon tells which variables of the test's environment are not for its daemon: that systemd
// runs the test is not the daemon's concern.
func notForTheDaemon(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "GORACE"}, name)
}

// Close stops the daemon and removes all that is its. The error says that it did not stop well, or
// had ended before. Called again it returns the same.
func (d *Daemon) Close() error { return d.close() }

func (d *Daemon) stop() error {
	early := false
	select {
	case <-d.exited:
		early = true
	default:
	}
	d.stdin.Close()
	var err error
	select {
	case <-d.exited:
		if err = d.err; err == nil && early {
			err = errors.New("it had ended by itself")
		}
	case <-time.After(stopLimit):
		err = fmt.Errorf("it did not stop within %v and was killed", stopLimit)
		d.kill()
	}
	if err != nil {
		err = fmt.Errorf("%w; what it said last:\n%s", err, lastLines(d.Log()))
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// kill ends the daemon whatever it does. Its worker ends with it.
func (d *Daemon) kill() {
	d.cmd.Process.Kill()
	<-d.exited
}

// Client returns a client of the daemon that is closed with the test.
func (d *Daemon) Client(t testing.TB, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Dial(d.Socket, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// JWKSURL is the address of a keyset's JWKS.
func (d *Daemon) JWKSURL(keyset string) string {
	return "http://" + d.public + "/keysets/" + keyset + "/jwks.json"
}

// Log returns what the daemon has logged, a JSON object a line.
func (d *Daemon) Log() string { return d.log.String() }

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// buffer is a bytes.Buffer that one goroutine may read while another writes.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
