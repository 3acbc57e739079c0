package main_test

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestSystemd stands where systemd does: it is told that the daemon is ready, how it is,
// that it lives, and that it stops.
func TestSystemd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("  default: {purpose: jwt, issuer: \"https://issuer.example\", keys: [p-256], certificate: {issuer: none}}\n")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.env = append(s.env, "NOTIFY_SOCKET="+s.path("notify"), "WATCHDOG_USEC=200000")
	d := s.serve()
	var told strings.Builder
	until := func(what string, count int) {
		t.Helper()
		l.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 4096)
		for strings.Count(told.String(), what) < count {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("systemd is not told %q %d times, only:\n%s", what, count, told.String())
			}
			told.Write(append(buf[:n], '\n'))
		}
	}
	until("READY=1", 1)
	until("STATUS=signing", 1)
	until("WATCHDOG=1", 3)
	d.stop()
	until("STOPPING=1", 1)
}
