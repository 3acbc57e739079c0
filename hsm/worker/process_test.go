package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/harden"
	"keysetd.example/internal/keyspec"
)

var errHungUp = errors.New("the daemon hung up")

func TestWorkerEndsWithTheDaemon(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		p, _ := newToken(t, 1)
		p.Abort(errHungUp)
		p.wait(t)
	})
	t.Run("busy", func(t *testing.T) {
		p, _ := newToken(t, 1)
		p.generate(t, "ec", keyspec.P256)
		for range 4 {
			go func() {
				for {
					if _, _, err := p.Sign(t.Context(), signRequest()); err != nil {
						return
					}
				}
			}()
		}
		if _, _, err := p.Sign(t.Context(), signRequest()); err != nil {
			t.Error(err)
		}
		p.Abort(errHungUp)
		p.wait(t)
	})
	t.Run("in a call that hangs", func(t *testing.T) {
		hangs := filepath.Join(t.TempDir(), "hangs")
		p, _ := newToken(t, 1, "FAULT=sign-hangs", "HANGS="+hangs)
		p.generate(t, "ec", keyspec.P256)
		go p.Sign(t.Context(), signRequest())
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(hangs); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the module does not hang")
			}
		}
		p.Abort(errHungUp)
		p.wait(t)
	})
	t.Run("when told to", func(t *testing.T) {
		p, _ := newToken(t, 1)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		p.wait(t)
	})
}

// The signals of a terminal and of a service manager are for the daemon.
func TestWorkerOutlivesSignals(t *testing.T) {
	p, _ := newToken(t, 1)
	p.generate(t, "ec", keyspec.P256)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := p.Sign(t.Context(), signRequest()); err != nil {
		t.Error(err)
	}
}

func TestWorkerIsKilled(t *testing.T) {
	_, dir := newToken(t, 1)
	p := reopen(t, dir)
	p.killed = true
	p.cmd.Process.Kill()
	<-p.Done()
	if _, _, err := p.List(t.Context(), wire.ListRequest{}); !errors.Is(err, wire.ErrWorkerGone) {
		t.Errorf("got %v", err)
	}
}

func TestNotRunByHand(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "token")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "not by hand") {
		t.Errorf("got %v, %q", err, out)
	}
}

// The process as /proc shows it: no core, no new privileges, and what is known of it
// belongs to root, which is how the kernel treats processes that are not dumpable.
func TestWorkerIsHardened(t *testing.T) {
	p := start(t, tokenDir(t))
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	if want := "Max core file size        0                    0 "; !strings.Contains(string(limits), want) {
		t.Errorf("the limits are\n%s", limits)
	}
	tasks, _ := filepath.Glob(proc + "task/*/status")
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && !strings.Contains(string(status), "NoNewPrivs:\t1\n") {
			t.Errorf("%s can gain privileges", task)
		}
	}
	if len(tasks) == 0 {
		t.Error("no threads were found")
	}
}

// Run as an ordinary user, the worker's files in /proc belong to root all the same.
func TestWorkerIsNotDumpable(t *testing.T) {
	daemon, worker := socketPair(t)
	defer daemon.Close()
	cmd := exec.Command("/proc/self/exe", "token")
	cmd.ExtraFiles = []*os.File{worker}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := harden.Start(cmd); err != nil {
		t.Fatal(err)
	}
	worker.Close()
	client, _, err := wire.NewClient(t.Context(), daemon) // it answers: it has hardened itself
	if err != nil {
		t.Fatal(err)
	}
	mem := fmt.Sprintf("/proc/%d/mem", cmd.Process.Pid)
	var stat unix.Stat_t
	if err := unix.Stat(mem, &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Uid != 0 || stat.Gid != 0 {
		t.Errorf("%s belongs to %d:%d: the process can be traced and dumped", mem, stat.Uid, stat.Gid)
	}
	if os.Geteuid() != 0 {
		if _, err := os.Open(mem); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("open %s: %v", mem, err)
		}
	}
	client.Abort(errHungUp)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// The PIN is nowhere that another process could look, and after the login nowhere at
// all: not in the worker's memory either, the module's included. An ordinary user is
// not even let in to look.
func TestPINIsNotShown(t *testing.T) {
	p, dir := newToken(t, 2)
	for _, p := range []*process{p, reopen(t, dir)} {
		for _, file := range []string{"cmdline", "environ", "mem"} {
			n, err := pinsIn(fmt.Sprintf("/proc/%d", p.cmd.Process.Pid), file)
			if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
				continue
			}
			if err != nil || n > 0 {
				t.Errorf("%s shows %d PINs, %v", file, n, err)
			}
		}
	}
}

func pinsIn(proc, file string) (int, error) {
	count := func(b []byte) int { return bytes.Count(b, []byte(userPIN)) + bytes.Count(b, []byte(soPIN)) }
	if file != "mem" {
		b, err := os.ReadFile(filepath.Join(proc, file))
		return count(b), err
	}
	maps, err := os.ReadFile(filepath.Join(proc, "maps"))
	if err != nil {
		return 0, err
	}
	mem, err := os.Open(filepath.Join(proc, file))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	n, read := 0, 0
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var perms string
		fmt.Sscanf(line, "%x-%x %s", &from, &to, &perms)
		// Constants of the test binary are read-only; the race detector's tables are huge.
		if !strings.HasPrefix(perms, "rw") || to-from > 1<<28 {
			continue
		}
		b := make([]byte, to-from)
		if k, _ := mem.ReadAt(b, from); k > 0 {
			read += k
			n += count(b[:k])
		}
	}
	if read == 0 {
		return 0, errors.New("no memory could be read")
	}
	return n, nil
}
