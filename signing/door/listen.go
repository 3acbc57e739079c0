// Package door is the local Unix socket: who is calling (SO_PEERCRED), HTTP with JSON, and
// gRPC. Both are thin over signing.Service, which decides everything.
package door

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MaxPath is the longest path of a Unix socket, in bytes (unix(7): sun_path, less its NUL).
const MaxPath = 107

// Listen makes the socket at path and listens there. Connections that it accepts know
// their caller.
//
// A stale socket, one that nobody listens on, is replaced. A live one is an error, and so
// is whatever else stands at path: it is never removed. At no instant has the socket wider
// rights than mode, which the umask does not narrow. gid is the group it is given; -1
// leaves it the daemon's.
func Listen(path string, mode fs.FileMode, gid int) (net.Listener, error) {
	l, err := listen(path, mode, gid)
	if err != nil {
		return nil, fmt.Errorf("listening on the socket %s: %w", path, err)
	}
	return &listener{l}, nil
}

func listen(path string, mode fs.FileMode, gid int) (*net.UnixListener, error) {
	switch {
	case path == "" || strings.HasPrefix(path, "@"):
		return nil, errors.New("it must be a path in the file system: an abstract socket is open to every local user")
	case len(path) > MaxPath:
		return nil, fmt.Errorf("the path has %d bytes and a socket's can have %d; give a shorter one", len(path), MaxPath)
	}
	unlock, err := lockFor(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}

	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cErr := c.Control(func(fd uintptr) {
			// Linux gives the file that bind makes the mode of the socket, less the umask.
			err = unix.Fchmod(int(fd), 0o600)
		}); cErr != nil {
			return cErr
		}
		return err
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	// The group first: the mode speaks of the group that the socket will have.
	if gid >= 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			return nil, errors.Join(fmt.Errorf("giving it to group %d, of which the daemon must be a member: %w", gid, err), l.Close())
		}
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.UnixListener), nil
}

// lockFor keeps two daemons that start at once from taking each other's new socket for
// a stale one. The lock is on a file of the daemon's own, which nobody else may open: who
// could, could keep it from starting.
func lockFor(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("its directory %s does not exist; make it first, owned by the daemon's user", filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("making its lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another process is making the same socket (%s.lock is locked: %w); start one keysetd, or give another path", path, err)
	}
	return func() { f.Close() }, nil // which unlocks
}

// removeStale removes the socket at path if nobody listens on it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("something that is no socket is there (%v); move it away, or give another path", info.Mode())
	}
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	switch {
	case err == nil:
		conn.Close()
		return errors.New("a process is listening there already; stop it, or give another path")
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist): // its owner just closed it
		return nil
	}
	return fmt.Errorf("finding out whether the socket that is there is in use: %w", err)
}
