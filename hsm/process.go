package hsm

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"keysetd.example/internal/harden"
)

// Worker is what holds the PKCS#11 module for one epoch.
type Worker interface {
	// Conn is this end of the connection that carries the frames. Closing it ends the worker, if
	// it still can.
	Conn() io.ReadWriteCloser
	// PID of the worker's process; 0 if it has none of its own.
	PID() int
	// Kill ends the worker whatever it is doing. It may be called again.
	Kill()
	// Exited is closed when the worker has ended.
	Exited() <-chan struct{}
}

type process struct {
	cmd    *exec.Cmd
	conn   net.Conn
	exited chan struct{}
	kill   sync.Once
}

// startProcess runs the worker's command with one end of a socket pair as descriptor 3.
// The worker inherits standard error, /dev/null for input and output, and no other
// descriptor; in a process group of its own, so that a terminal's ^C reaches it through the daemon.
func (c Config) startProcess(context.Context) (Worker, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start the worker: %w", err)
	}
	defer theirs.Close()
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Env = environment(os.Environ(), c.Environment)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := harden.Start(cmd); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the worker: %w", err)
	}
	p := &process{cmd: cmd, conn: ours, exited: make(chan struct{})}
	go func() {
		cmd.Wait() // its status says nothing that the end of the connection does not
		close(p.exited)
	}()
	return p, nil
}

// socketPair returns two connected ends, both close-on-exec.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	f, theirs := os.NewFile(uintptr(fds[0]), "daemon"), os.NewFile(uintptr(fds[1]), "worker")
	defer f.Close()
	ours, err = net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

func (p *process) Conn() io.ReadWriteCloser { return p.conn }
func (p *process) PID() int                 { return p.cmd.Process.Pid }
func (p *process) Exited() <-chan struct{}  { return p.exited }

// Kill signals through os.Process, which knows whether the pid is still the worker's.
func (p *process) Kill() {
	p.kill.Do(func() {
		p.conn.Close()
		p.cmd.Process.Kill()
	})
}
