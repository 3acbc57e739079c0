package door

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"keysetd.example/signing/policy"
)

// listener finds out whose each connection is that it accepts.
type listener struct{ *net.UnixListener }

// conn is a connection and its caller, as the caller was when it connected: whoever is
// handed the descriptor later acts in that caller's name, and with its rights.
type conn struct {
	*net.UnixConn
	caller  policy.Caller
	release func() // what Close gives back; it may be called more than once
	ahead   []byte // read to find out the language, and to be read again
	streams streams
	activity
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		caller, err := peer(c)
		if err != nil { // nobody we could name: its connection is its own loss, not the door's
			c.Close()
			continue
		}
		accepted := &conn{UnixConn: c, caller: caller, release: func() {}}
		accepted.activity.since = time.Now()
		return accepted, nil
	}
}

func (c *conn) Close() error {
	c.release()
	return c.UnixConn.Close()
}

// Read returns first what was read ahead. Nobody reads ahead any more by the time that a
// server has the connection.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.UnixConn.Read(p)
}

// peer asks the kernel who connected: SO_PEERCRED and SO_PEERGROUPS (unix(7), socket(7)).
func peer(c *net.UnixConn) (policy.Caller, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return policy.Caller{}, err
	}
	var (
		cred   *unix.Ucred
		groups []uint32
	)
	if cErr := raw.Control(func(fd uintptr) {
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			groups, err = peerGroups(fd)
		}
	}); cErr != nil {
		return policy.Caller{}, cErr
	}
	if err != nil {
		return policy.Caller{}, err
	}
	return policy.Caller{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid, Groups: groups, Exe: executable(cred.Pid)}, nil
}

// executable is the program that a process runs now (proc_pid_exe(5)), for the audit log alone: the
// process may have become another program since it connected. Of other users' processes only root, or
// who has CAP_SYS_PTRACE, may read it; it is empty then, and where the PID means nothing here.
func executable(pid int32) string {
	if pid <= 0 {
		return ""
	}
	path, err := os.Readlink("/proc/" + strconv.Itoa(int(pid)) + "/exe")
	if err != nil {
		return ""
	}
	return path
}

// peerGroups returns the supplementary groups of who connected, as they were then.
func peerGroups(fd uintptr) ([]uint32, error) {
	buf := make([]byte, 64*4) // more than most processes have
	for {
		size := uint32(len(buf))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && int(size) > len(buf): // and says how much it needs
			buf = make([]byte, size)
			continue
		case errno == unix.ENOPROTOOPT: // before Linux 4.13: a caller without groups has fewer rights, never more
			return nil, nil
		case errno != 0:
			return nil, fmt.Errorf("asking the kernel for the caller's groups: %w", errno)
		}
		var groups []uint32
		for at := 0; at+4 <= int(size); at += 4 {
			groups = append(groups, binary.NativeEndian.Uint32(buf[at:]))
		}
		return groups, nil
	}
}

type (
	callerKey struct{}
	connKey   struct{}
)

// withCaller is http.Server's ConnContext.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(context.WithValue(ctx, callerKey{}, c.caller), connKey{}, c)
	}
	return ctx
}

var errNoCaller = errors.New("the connection was not accepted by a listener of package door")

func callerOf(ctx context.Context) (policy.Caller, error) {
	caller, ok := ctx.Value(callerKey{}).(policy.Caller)
	if !ok {
		return policy.Caller{}, errNoCaller
	}
	return caller, nil
}
