package main_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestRecoverSilent: what verifiers may not know does not sign since a store was lost: the only generation,
// which was pending after all others were revoked, and a static key. Nor is a store made beside a daemon
// that lost its own.
func TestRecoverSilent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.administratorsKey("EC:prime256v1", "theirs", "0a")
	s.token = "  accept_keys: [theirs]\n" // OpenSC's tool leaves keys modifiable
	s.configure(strings.Replace(strings.Replace(selfIssued, "PERIOD", "12h", 1), "clock_skew: 200ms", "clock_skew: 20m", 1) + `
  partner:
    purpose: jwt
    any_issuer: true
    mode: static
    static: {p-256: {active: {label: theirs}}}
`)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	d.ctl("revoke", "--all", "--keyset", "default", "--reason", "stolen")
	eventually(t, 20*time.Second, "the next generation is pending", func() bool { return in(d.state("default"), "pending").Number == 3 })

	s.lose("state.db")
	for _, made := range [][]string{{"init"}, {"recover", "--write"}} {
		s.refuses(made, "a keysetd runs", s.path("sock"), "stop it first")
	}
	if _, stderr, err := d.tryCtl("freeze", "--until", "1h", "--reason", "r", "partner"); err == nil || !strings.Contains(d.logged(), "removed or replaced under keysetd") {
		t.Errorf("an act that nobody will remember: %v, %s", err, stderr)
	}
	d.stop()

	signs := func(want bool) {
		t.Helper()
		for _, keyset := range []string{"default", "partner"} {
			if status, reply := d.token(keyset, "ES256", time.Minute); (status == http.StatusOK) != want || !want && reply["reason"] != "not_ready" {
				t.Errorf("keyset %s signs %t: %d %v", keyset, want, status, reply)
			}
		}
	}
	out := s.mustRecover("--write")
	contains(t, "recover --write", out, "WARNING: keyset default: NOTHING SIGNS until verifiers surely know its next key: 20m1s after",
		"WARNING: keyset partner: NOTHING SIGNS", "named by static keyset partner: left alone, taken over at the start")
	d = s.start("listening")
	eventually(t, 20*time.Second, "the static key is taken over", func() bool { return in(d.state("partner"), "pending").Number > 0 })
	signs(false)
	d.stop()

	if err := os.Remove(s.path("state.db")); err != nil {
		t.Fatal(err)
	}
	contains(t, "a dry run", s.mustRecover("--accept-unpublished"), "keysetd recover --write -c "+s.path("keysetd.yaml")+" --accept-unpublished", "as you accept")
	s.mustRecover("--write", "--accept-unpublished")
	d = s.serve()
	signs(true)
}
