// Package harden takes from a process what an attacker on the same host could use to
// read its memory, and what it could leave behind by accident.
package harden

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstInherited is the first descriptor that no child is meant to inherit: those below
// are the standard streams. Descriptors passed on purpose (exec.Cmd.ExtraFiles) are
// duplicated in the child and not concerned.
const firstInherited = 3

// Process makes this process one that
//   - no other process of the same user can trace, nor read the memory, environment or
//     descriptors of (prctl(2) PR_SET_DUMPABLE 0; it also forbids core dumps),
//   - writes no core, and cannot raise the limit again (setrlimit(2) RLIMIT_CORE 0),
//   - leaks no descriptor into programs it or its libraries start (FD_CLOEXEC on all
//     that are open and not a standard stream).
//
// PR_SET_NO_NEW_PRIVS is not among them: it belongs to a thread, a Go process with cgo
// has several before main and no way to reach them all. Start gives it to a child.
//
// Every measure is taken even when one before it failed; the error joins them.
func Process() error {
	return errors.Join(
		explain("mark descriptors close-on-exec", closeOnExec()),
		explain("forbid tracing and core dumps", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
		explain("set the core limit to 0", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})),
	)
}

func closeOnExec() error {
	open, err := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= firstInherited {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("harden the process: %s: %w", what, err)
}

// Start is cmd.Start for a child that, with all it starts, can gain no privileges by
// exec: no set-user-id bit and no file capability counts (prctl(2) PR_SET_NO_NEW_PRIVS).
// It costs one thread, which ends with the call; so cmd must not ask for a signal at
// its parent thread's end.
func Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
		return errors.New("start a hardened child: Pdeathsig would fire at once, since the thread that starts it ends")
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			started <- explain("forbid new privileges", err)
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}
