package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"keysetd.example/hsm/hsmtest"
)

// soak: KEYSETD_SOAK=1 asks for the long form of the tests that have one.
var soak = os.Getenv("KEYSETD_SOAK") == "1"

// soft is the site's token, for package hsmtest.
func (s *site) soft() *hsmtest.Soft {
	return &hsmtest.Soft{
		Module: softhsm, Conf: s.path("softhsm2.conf"), Label: "e2e",
		PINFile: s.path("pin"), Marker: s.path("pin-default.marker"),
	}
}

// through rewrites the configuration so that the daemon reaches the token by another module.
func (s *site) through(module string, environment map[string]string) {
	s.t.Helper()
	b, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.Replace(string(b), "module: "+softhsm, "module: "+module, 1)
	for name, value := range environment {
		if name != "SOFTHSM2_CONF" && name != "GORACE" { // which are there
			text = strings.Replace(text, "environment: {", fmt.Sprintf("environment: {%s: %q, ", name, value), 1)
		}
	}
	s.write("keysetd.yaml", text)
}

const remoteSpecs = `
  default:
    purpose: jwt
    issuer: https://issuer.example
    keys: [p-256, rsa-2048]
    certificate: {issuer: none}
`

// TestOutage takes the HSM away from the daemon in every way that p11-kit's server can go: public keys and
// metrics are there all the while, callers are told in time, and signing comes back by itself.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(remoteSpecs)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml")) // past p11-kit, and faster
	p := hsmtest.NewP11Kit(t, s.soft())
	cfg := p.Config()
	s.through(cfg.Open.Module, cfg.Environment)

	p.Kill()
	d := s.start("listening")
	d.awayUntil("absent at start", time.Second, func() { p.Restart(t) })
	d.awayUntil("killed", 0, func() { p.Restart(t) }, p.Kill)
	stopped := 2 * time.Second
	if soak {
		stopped = 30 * time.Second
	}
	d.awayUntil("stopped", stopped, p.Cont, p.Stop)
	if soak {
		d.awayUntil("killed again", 0, func() { p.Restart(t) }, p.Kill)
	}
}

// awayUntil holds the daemon to what it owes while its HSM is away, for this long at least, and after back.
func (d *daemon) awayUntil(how string, long time.Duration, back func(), leave ...func()) {
	d.t.Helper()
	set := d.jwks("default")
	for _, f := range leave {
		f()
	}
	gone := time.Now()
	// Two callers: one whose patience ends before the daemon's, one who waits for its answer.
	var callers sync.WaitGroup
	callers.Go(func() {
		const patience = 300 * time.Millisecond
		begun := time.Now()
		status, err := d.hasty(patience)
		if took := time.Since(begun); err == nil || took > patience+5*time.Second {
			d.t.Errorf("%s: a caller with %v of patience got %d, %v after %v", how, patience, status, err, took)
		}
	})
	answered := make(chan struct{})
	callers.Go(func() {
		defer close(answered)
		if how != "killed" && !soak {
			return // the daemon gives its callers ten seconds; once must do
		}
		begun := time.Now()
		status, reply, err := d.tryCall("POST", "/v1/keysets/default/jwt", `{"alg":"ES256","claims":`+claims(how)+`}`)
		reason := fmt.Sprint(reply["reason"])
		if err != nil || status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout || reason != "unavailable" && reason != "deadline_exceeded" {
			d.t.Errorf("%s: a request got %d %v, %v, want 503 unavailable", how, status, reply, err)
		}
		d.t.Logf("%s: %d %s after %v", how, status, reason, time.Since(begun).Round(time.Millisecond))
	})
	for waiting := true; waiting; {
		select {
		case <-answered:
			waiting = time.Since(gone) < long
			answered = nil
		case <-time.After(50 * time.Millisecond):
			waiting = answered != nil || time.Since(gone) < long
		}
		if got := d.jwks("default"); len(got.Keys) != len(set.Keys) {
			d.t.Fatalf("%s: %d keys in the JWKS, want %d", how, len(got.Keys), len(set.Keys))
		}
		get(d.t, "http://"+d.Metrics+"/metrics")
	}
	callers.Wait()
	if how != "stopped" || soak { // that somebody has stopped shows when a call's limit is over
		if ready := d.ready(); ready != http.StatusServiceUnavailable {
			d.t.Errorf("%s: /readyz says %d, want 503", how, ready)
		}
	}
	back()
	begun := time.Now()
	for _, alg := range []string{"ES256", "RS256"} {
		eventually(d.t, 30*time.Second, how+": signing again by itself", func() bool {
			status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"alg":"`+alg+`","claims":`+claims(how)+`}`)
			return status == http.StatusOK && d.verified(reply)
		})
	}
	eventually(d.t, 10*time.Second, how+": ready again", func() bool { return d.ready() == http.StatusOK })
	d.t.Logf("%s: signing again %v after it was back", how, time.Since(begun).Round(time.Millisecond))
}

func (d *daemon) ready() int {
	d.t.Helper()
	resp, err := http.Get("http://" + d.Public + "/readyz")
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// verified tells whether the token in a reply is signed by a key that is published.
func (d *daemon) verified(reply map[string]any) bool {
	text, _ := reply["token"].(string)
	set := d.jwks("default")
	_, err := jwt.Parse(text, func(tok *jwt.Token) (any, error) {
		if keys := set.Key(fmt.Sprint(tok.Header["kid"])); len(keys) == 1 {
			return keys[0].Key, nil
		}
		return nil, errors.New("no such kid is published")
	})
	if err != nil {
		d.t.Errorf("%q: %v", text, err)
	}
	return err == nil
}

// hasty asks for a signature and gives up after so long.
func (d *daemon) hasty(patience time.Duration) (status int, err error) {
	c := d.client()
	c.Timeout = patience
	resp, err := c.Post("http://localhost/v1/keysets/default/jwt", "application/json", strings.NewReader(`{"alg":"RS256","claims":`+claims("hasty")+`}`))
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// TestWorkersKilledUnderLoad: what may be repeated is repeated; callers see a delay, not an error.
func TestWorkersKilledUnderLoad(t *testing.T) {
	t.Parallel()
	kills := 25
	if soak {
		kills = 200
	}
	s := newSite(t)
	s.configure(remoteSpecs)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var signed, slowest atomic.Int64
	load := func(i int) {
		c := d.client()
		defer c.CloseIdleConnections()
		for n := i; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			alg := []string{"ES256", "RS256", "PS256"}[n%3]
			begun := time.Now()
			resp, err := c.Post("http://localhost/v1/keysets/default/jwt", "application/json", strings.NewReader(`{"alg":"`+alg+`","claims":`+claims("load")+`}`))
			if err != nil {
				t.Errorf("sign by %s: %v", alg, err)
				return
			}
			var reply map[string]any
			err = json.NewDecoder(resp.Body).Decode(&reply)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || !d.verified(reply) {
				t.Errorf("sign by %s: %s %v %v", alg, resp.Status, reply, err)
				return
			}
			signed.Add(1)
			for took := int64(time.Since(begun)); took > slowest.Load(); {
				slowest.Store(took) // for the log
			}
		}
	}
	// What the daemon has open once it is warm: every caller connected, a worker lost.
	for i := range 8 {
		callers.Go(func() { load(i) })
	}
	halt := sync.OnceFunc(func() {
		close(stop)
		callers.Wait()
	})
	t.Cleanup(halt)
	d.killWorker(&signed)
	before := d.open()
	for range kills - 1 {
		if t.Failed() {
			return
		}
		d.killWorker(&signed)
	}
	after := d.open()
	halt()
	if got := d.metric(`keysetd_worker_restarts_total{token="default"}`); got != float64(kills) {
		t.Errorf("keysetd_worker_restarts_total is %v after %d kills", got, kills)
	}
	// A worker's socket may just be coming or going, and so may connections for the JWKS.
	const descriptors, threads = 24, 12
	if after.descriptors > before.descriptors+descriptors || after.threads > before.threads+threads || after.children > 1 {
		t.Errorf("before %+v; after %+v", before, after)
	}
	t.Logf("%d kills, %d signatures, the slowest took %v; before %+v; after %+v", kills, signed.Load(), time.Duration(slowest.Load()).Round(time.Millisecond), before, after)
}

// killWorker kills the daemon's worker, and waits until callers sign with the next one.
func (d *daemon) killWorker(signed *atomic.Int64) {
	d.t.Helper()
	restarts := d.metric(`keysetd_worker_restarts_total{token="default"}`)
	eventually(d.t, 20*time.Second, "the token is up", func() bool { return d.metric(`keysetd_token_up{token="default"}`) == 1 })
	had := signed.Load()
	eventually(d.t, 20*time.Second, "callers sign", func() bool { return signed.Load() > had || d.t.Failed() })
	if err := syscall.Kill(d.worker(), syscall.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, 20*time.Second, "a new worker is started", func() bool {
		return d.metric(`keysetd_worker_restarts_total{token="default"}`) > restarts && d.metric(`keysetd_token_up{token="default"}`) == 1
	})
}

type opened struct{ descriptors, threads, children int }

// open counts what the daemon holds. It is not dumpable, so /proc/PID/fd is root's alone: its own metrics tell.
func (d *daemon) open() opened {
	d.t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	o := opened{descriptors: int(d.metric("process_open_fds")), threads: len(tasks)}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		var pid int
		fmt.Sscanf(path, "/proc/%d/stat", &pid)
		if _, parent := procStat(pid); parent == d.cmd.Process.Pid {
			o.children++
		}
	}
	return o
}
