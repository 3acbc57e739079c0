package hsmtest

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"keysetd.example/hsm"
)

// Where distributions put p11-kit's client module.
var p11KitClients = []string{
	"/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
	"/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
	"/usr/lib64/pkcs11/p11-kit-client.so",
	"/usr/lib/pkcs11/p11-kit-client.so",
}

// P11Kit is a SoftHSM token behind p11-kit's server, as an HSM behind a network would be: the
// server forks one p11-kit-remote for each connection, and can go away and come back.
// Its methods are for one goroutine.
type P11Kit struct {
	soft   *Soft
	client string // the module
	socket string
	server *exec.Cmd // nil while killed
	ended  chan struct{}
}

// NewP11Kit serves soft over a socket of its own until the test ends. A machine without p11-kit
// fails the test.
func NewP11Kit(t testing.TB, soft *Soft) *P11Kit {
	t.Helper()
	dir, err := os.MkdirTemp("", "p11") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	p := &P11Kit{
		soft:   soft,
		client: find(t, "p11-kit's client module", "p11-kit-modules", p11KitClients),
		socket: filepath.Join(dir, "sock"),
	}
	t.Cleanup(func() {
		p.Kill()
		os.RemoveAll(dir)
	})
	p.Restart(t)
	return p
}

// Config is soft's, through p11-kit.
func (p *P11Kit) Config() hsm.Config {
	cfg := p.soft.Config()
	cfg.Open.Module = p.client
	cfg.Environment["P11_KIT_SERVER_ADDRESS"] = "unix:path=" + p.socket
	return cfg
}

// Restart starts the server and waits until it accepts connections; one that runs is killed before.
func (p *P11Kit) Restart(t testing.TB) {
	t.Helper()
	p.Kill()
	if err := os.Remove(p.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	cmd := exec.Command("p11-kit", "server", "-f", "--provider", p.soft.Module, "-n", p.socket, "pkcs11:token="+p.soft.Label)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+p.soft.Conf)
	// A group of its own, which the remotes are in too. The server does not outlive the tests, nor
	// remotes their connection.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // whose end Pdeathsig means
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-ended
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start p11-kit's server (Debian: apt-get install p11-kit): %v", err)
	}
	p.server, p.ended = cmd, ended
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("unix", p.socket)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("p11-kit's server does not listen: %v", err)
		}
	}
}

// Kill ends the server and its remotes at once. It may be called again.
func (p *P11Kit) Kill() {
	if p.server == nil {
		return
	}
	p.signal(syscall.SIGKILL) // before Wait: until then the group's number is the server's
	p.server.Wait()
	close(p.ended)
	p.server = nil
}

// Stop stops the server and its remotes, as a network that drops everything: calls block.
func (p *P11Kit) Stop() { p.signal(syscall.SIGSTOP) }

// Cont lets them go on after Stop.
func (p *P11Kit) Cont() { p.signal(syscall.SIGCONT) }

func (p *P11Kit) signal(s syscall.Signal) { syscall.Kill(-p.server.Process.Pid, s) }
