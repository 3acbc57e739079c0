package main_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"keysetd.example/api/v1/keysetdpb"
)

// Users of the test. Without root there is but its own, which is the daemon's too.
const (
	flooder = 4711 // is granted something
	signer  = 4712 // so is this one
	nobodys = 4713 // is not
)

// crowded is a site with callers of several users.
func crowded(t *testing.T) *daemon {
	t.Helper()
	s := newSite(t)
	s.configure(`
  default: {purpose: jwt, issuer: "https://issuer.test", keys: [p-256], certificate: {issuer: none}}
  raw: {purpose: raw, keys: [p-256], certificate: {issuer: none}}
`)
	yaml, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(yaml), `socket_mode: "0600"`, `socket_mode: "0666"`, 1)
	text = strings.Replace(text, "callers:", fmt.Sprintf(`callers:
  flooder: {uid: %d, keysets: [default, raw], operations: [jwt, sign], algorithms: [ES256]}
  signer: {uid: %d, keysets: [default, raw], operations: [jwt, sign], algorithms: [ES256]}`, flooder, signer), 1)
	s.write("keysetd.yaml", text)
	if err := os.Chmod(s.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	return s.serve()
}

// dialAs connects as another user where the test may be one: the kernel tells the daemon the
// effective uid of the thread that connects.
func (d *daemon) dialAs(uid int) net.Conn {
	d.t.Helper()
	var c net.Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Getuid() == 0 {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
				err = errno
				return
			}
		}
		c, err = net.Dial("unix", d.Socket)
	}()
	<-done
	if err != nil {
		d.t.Fatalf("connecting as uid %d: %v", uid, err)
	}
	d.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// ask sends one request as a user and returns all that comes back.
func (d *daemon) askAs(uid int, method, path, header, body string) string {
	d.t.Helper()
	c := d.dialAs(uid)
	defer c.Close()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", method, path, len(body), header, body)
	reply, err := io.ReadAll(c)
	if err != nil && len(reply) == 0 {
		return err.Error()
	}
	return string(reply)
}

// signAs signs as a user and returns the time that it took.
func (d *daemon) signAs(uid int) time.Duration {
	d.t.Helper()
	begun := time.Now()
	reply := d.askAs(uid, "POST", "/v1/keysets/default/jwt", "", fmt.Sprintf(`{"claims":{"exp":%d}}`, time.Now().Add(time.Minute).Unix()))
	if !strings.Contains(reply, `"token":"`) {
		d.t.Fatalf("uid %d: %s", uid, reply)
	}
	return time.Since(begun)
}

// median is the usual time of signing.
func (d *daemon) median(uid int) time.Duration {
	d.t.Helper()
	var took []time.Duration
	for range 21 {
		took = append(took, d.signAs(uid))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// open counts those that the daemon has not closed.
func openOf(conns []net.Conn) int {
	n := 0
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); os.IsTimeout(err) {
			n++
		}
	}
	return n
}

// TestFlood: a thousand connections of a user that say nothing; its own bound holds them, and
// others sign in their usual time.
func TestFlood(t *testing.T) {
	t.Parallel()
	d := crowded(t)
	root := os.Getuid() == 0
	if !root {
		t.Log("not root: the flood and who signs beside it are one user, and the daemon's own")
	}
	usual := d.median(signer)
	for _, flood := range []struct{ uid, most int }{{flooder, 128}, {nobodys, 8}} {
		if !root {
			flood.most = 128
		}
		begun := time.Now()
		var conns []net.Conn
		for range 1000 {
			conns = append(conns, d.dialAs(flood.uid))
		}
		for _, uid := range []int{signer, os.Getuid()} {
			if took := d.median(uid); took > 4*usual+5*time.Second { // held up, and not just on a busy machine
				t.Errorf("beside the flood of uid %d, uid %d signs in %v, and in %v without", flood.uid, uid, took, usual)
			}
		}
		var open int
		eventually(t, 10*time.Second, fmt.Sprintf("uid %d has its %d connections at most", flood.uid, flood.most), func() bool { // some are still being turned away
			open = openOf(conns)
			return open <= flood.most
		})
		if open == 0 && time.Since(begun) < 4*time.Second {
			t.Errorf("uid %d has none of its connections", flood.uid)
		}
		if !root {
			break
		}
		if reply := d.askAs(flood.uid, "GET", "/v1/whoami", "", ""); time.Since(begun) < 4*time.Second && strings.Contains(reply, "200 OK") {
			t.Errorf("one more of uid %d was let in after %v", flood.uid, time.Since(begun))
		}
		for _, c := range conns {
			c.Close()
		}
	}
}

// TestSizesAndTimes: what is longer than it may be is refused in the words of its language,
// and who says nothing is let go.
func TestSizesAndTimes(t *testing.T) {
	t.Parallel()
	d := crowded(t)
	if os.Getuid() != 0 {
		t.Log("not root: all requests are the daemon's own user's")
	}
	silent, begun := d.dialAs(signer), time.Now()
	for name, tt := range map[string]struct {
		path, header, body, want string
	}{
		"header": {"/v1/keysets/raw/sign", "A: " + strings.Repeat("a", 16<<10) + "\r\n", "{}", "HTTP/1.1 431 "},
		"body":   {"/v1/keysets/raw/sign", "", `{"payload":"` + strings.Repeat("A", 2<<20) + `"}`, "HTTP/1.1 413 "},
		"claims": {"/v1/keysets/default/jwt", "", `{"claims":{"a":"` + strings.Repeat("A", 100<<10) + `"}}`, "HTTP/1.1 413 "},
	} {
		if reply := d.askAs(signer, "POST", tt.path, tt.header, tt.body); !strings.HasPrefix(reply, tt.want) {
			t.Errorf("%s: %q", name, reply[:min(len(reply), 200)])
		}
	}
	overGRPC := keysetdpb.NewSignerClient(overGRPC(t, d.Socket))
	_, err := overGRPC.Sign(t.Context(), &keysetdpb.SignRequest{Keyset: "raw", Alg: "ES256", Input: &keysetdpb.SignRequest_Payload{Payload: make([]byte, 2<<20)}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over the limit: %v", err)
	}
	half := d.dialAs(signer)
	fmt.Fprint(half, "POST /v1/keysets/raw/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if got, err := io.ReadAll(silent); err != nil || len(got) > 0 || time.Since(begun) > 15*time.Second {
		t.Errorf("the silent connection after %v: %q %v", time.Since(begun), got, err)
	}
	if reply, err := io.ReadAll(half); err != nil || !strings.Contains(string(reply), "did not arrive in time") {
		t.Errorf("half a body: %q %v", reply, err)
	}
	if d.signAs(signer) > 10*time.Second || d.cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Error("the daemon suffered")
	}
}
