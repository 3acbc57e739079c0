package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// daemon is a running keysetd.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	client *client.Client
	Socket string `json:"socket"`
	Public string `json:"public"`

	mu     sync.Mutex
	log    bytes.Buffer
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// serve starts `keysetd serve` and waits until it says that it is ready.
func (s *site) serve() *daemon {
	s.t.Helper()
	d := &daemon{t: s.t, exited: make(chan struct{})}
	d.cmd = exec.Command(keysetd, "serve", "-c", s.path("keysetd.yaml"))
	d.cmd.Dir = s.dir // where a worker that ends under the race detector may write
	d.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1 exitcode=66 "+gorace)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	go d.follow(stderr, ready)
	s.t.Cleanup(d.stop)
	select {
	case <-ready:
	case <-d.exited:
		s.t.Fatalf("keysetd ended before it was ready: %v\n%s", d.err, d.logged())
	case <-time.After(time.Minute):
		s.t.Fatalf("keysetd is not ready after a minute\n%s", d.logged())
	}
	if d.client, err = client.Dial(d.Socket); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// follow keeps the log; the line that says ready carries the addresses.
func (d *daemon) follow(stderr io.Reader, ready chan struct{}) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d.mu.Lock()
		d.log.WriteString(lines.Text() + "\n")
		d.mu.Unlock()
		var l struct{ Msg string }
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "ready" {
			json.Unmarshal(lines.Bytes(), d)
			close(ready)
		}
	}
	d.err = d.cmd.Wait()
	close(d.exited)
}

func (d *daemon) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// stop ends the daemon as systemd would, and checks that it ended well.
func (d *daemon) stop() {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(20 * time.Second):
		d.cmd.Process.Kill()
		<-d.exited
		d.t.Errorf("keysetd did not end within 20 s of SIGTERM")
	}
	if d.err != nil {
		d.t.Errorf("keysetd ended with %v", d.err)
	}
	if d.t.Failed() {
		d.t.Logf("what this daemon said:\n%s", d.logged())
	}
}

// jwksURL is where the world finds the keyset's keys.
func (d *daemon) jwksURL(keyset string) string {
	return "http://" + d.Public + "/keysets/" + keyset + "/jwks.json"
}

func (d *daemon) jwks(keyset string) jose.JSONWebKeySet {
	d.t.Helper()
	resp, err := http.Get(d.jwksURL(keyset))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || resp.StatusCode != http.StatusOK {
		d.t.Fatalf("GET %s: %s, %v", d.jwksURL(keyset), resp.Status, err)
	}
	return set
}

// published is the one entry of the keyset's JWKS with this kid.
func (d *daemon) published(keyset, kid string) jose.JSONWebKey {
	d.t.Helper()
	set := d.jwks(keyset)
	keys := set.Key(kid)
	if len(keys) != 1 {
		d.t.Fatalf("%d keys of keyset %s are published as %q", len(keys), keyset, kid)
	}
	return keys[0]
}

// inState is the keyset's generation in this state.
func (d *daemon) inState(keyset, state string) v1.Generation {
	d.t.Helper()
	ks, err := d.client.Keyset(d.t.Context(), keyset)
	if err != nil {
		d.t.Fatal(err)
	}
	i := slices.IndexFunc(ks.Generations, func(g v1.Generation) bool { return g.State == state })
	if i < 0 {
		d.t.Fatalf("keyset %s has no %s generation: %+v", keyset, state, ks.Generations)
	}
	return ks.Generations[i]
}

// key is the entry in the JWKS of the keyset's key for alg in this state.
func (d *daemon) key(keyset, state, alg string) jose.JSONWebKey {
	d.t.Helper()
	g := d.inState(keyset, state)
	i := slices.IndexFunc(g.Keys, func(k v1.Key) bool { return slices.Contains(k.Algorithms, alg) })
	if i < 0 {
		d.t.Fatalf("the %s generation of keyset %s has no key for %s: %+v", state, keyset, alg, g.Keys)
	}
	return d.published(keyset, g.Keys[i].KID)
}
