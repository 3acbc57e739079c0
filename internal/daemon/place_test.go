package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotRunning: a store is made only where nobody answers on the socket.
func TestNotRunning(t *testing.T) {
	dir, err := os.MkdirTemp("", "k") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	if err := notRunning(path); err != nil {
		t.Errorf("nothing is there: %v", err)
	}
	if err := notRunning(filepath.Join(dir, "no", "s")); err != nil {
		t.Errorf("its directory is not there: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := notRunning(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("somebody listens: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := notRunning(path); err != nil {
		t.Errorf("a socket was left: %v", err)
	}
}
