package daemon

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestReloadingIsTold stands where systemd does with Type=notify-reload.
func TestReloadingIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "ks") // short: socket paths have 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetReadDeadline(time.Now().Add(10 * time.Second))
	t.Setenv("NOTIFY_SOCKET", path)
	told := func(want string) {
		t.Helper()
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil || !regexp.MustCompile(want).Match(b[:n]) {
			t.Errorf("systemd is told %q (%v), want %s", b[:n], err, want)
		}
	}
	notifier{log: slog.New(slog.DiscardHandler)}.reloading(func() { told(`^RELOADING=1\nMONOTONIC_USEC=\d+\n?$`) })
	told(`^READY=1$`)
}
