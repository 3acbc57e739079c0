package main_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// edit replaces text in the configuration.
func (s *site) edit(pairs ...string) {
	s.t.Helper()
	b, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(b), pairs[i]) {
			s.t.Fatalf("the configuration does not have %q", pairs[i])
		}
	}
	s.write("keysetd.yaml", strings.NewReplacer(pairs...).Replace(string(b)))
}

// TestReload changes the configuration of a running daemon: what is new to verifiers is
// published at once and signs later, what is wrong changes nothing, and nothing goes by mistake.
func TestReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const algorithms = "publish: {algorithms: [RS256]}"
	s.configure(`
  default: {purpose: jwt, issuer: "https://issuer.example", keys: [rsa-2048], ` + algorithms + `}
  other: {purpose: raw, keys: [p-256]}
`)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	before := kids(d.jwks("default"))
	pid := d.cmd.Process.Pid

	t.Run("nothing changed", func(t *testing.T) {
		if out := d.ctl("reload"); !strings.Contains(out, "nothing changed") {
			t.Errorf("reload says %q", out)
		}
		if got := kids(d.jwks("default")); !slices.Equal(got, before) {
			t.Errorf("on the page are %q, were %q", got, before)
		}
	})

	s.edit("keys: [rsa-2048]", "keys: [rsa-2048, p-256]", "[RS256]", "[RS256, RS384]",
		"callers:", fmt.Sprintf("callers:\n  second: {uid: %d, keysets: [default], operations: [jwt], algorithms: [ES256]}", os.Getuid()+1))
	t.Run("a dry run", func(t *testing.T) {
		out := d.ctl("reload", "--dry-run")
		for _, want := range []string{"keyset default: p-256 is added", "keyset default: RS384 gets a kid of its own", "callers: second is added", "takes effect"} {
			if !strings.Contains(out, want) {
				t.Errorf("it does not say %q:\n%s", want, out)
			}
		}
		if got := kids(d.jwks("default")); !slices.Equal(got, before) {
			t.Errorf("on the page are %q, were %q", got, before)
		}
	})
	t.Run("a reload", func(t *testing.T) {
		if out := d.ctl("reload"); !strings.Contains(out, "the configuration is loaded") {
			t.Errorf("reload says %q", out)
		}
		var curve string
		eventually(t, 20*time.Second, "the page has a P-256 key", func() bool {
			for _, k := range d.jwks("default").Keys {
				if k.Algorithm == "ES256" {
					curve = k.KeyID
				}
			}
			return curve != ""
		})
		after := kids(d.jwks("default"))
		if i := slices.IndexFunc(after, func(kid string) bool { return strings.HasSuffix(kid, "-RS384") }); i < 0 {
			t.Errorf("the page has no kid for RS384: %q", after)
		}
		for _, kid := range before[:2] { // of the active key
			if !slices.Contains(after, kid) {
				t.Errorf("%s has left the page: %q", kid, after)
			}
		}
		status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"alg":"ES256","claims":`+claims("early")+`}`)
		if detail := fmt.Sprint(reply["detail"]); status == 200 || !strings.Contains(detail, "ask again from 20") {
			t.Errorf("ES256 asked for at once: %d %v", status, reply)
		}
		if status, reply = d.call("POST", "/v1/keysets/default/jwt", `{"alg":"ES256","kid":"`+curve+`","claims":`+claims("early")+`}`); status == 200 {
			t.Errorf("the new key signs at once: %v", reply)
		}
		if status, reply = d.call("POST", "/v1/keysets/default/jwt", `{"alg":"RS384","claims":`+claims("early")+`}`); status != 200 || reply["kid"] != before[0] {
			t.Errorf("RS384 is not signed under the key's own kid %s: %d %v", before[0], status, reply)
		}
		if status, reply = d.call("POST", "/v1/keysets/default/jwt", `{"alg":"RS256","claims":`+claims("as before")+`}`); status != 200 || reply["kid"] != before[0]+"-RS256" {
			t.Errorf("RS256: %d %v", status, reply)
		}
	})

	good, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	same := func(t *testing.T) func() {
		page := kids(d.jwks("default"))
		return func() {
			t.Helper()
			if got := kids(d.jwks("default")); !slices.Equal(got, page) {
				t.Errorf("on the page are %q, were %q", got, page)
			}
			if status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"alg":"RS256","claims":`+claims("still")+`}`); status != 200 {
				t.Errorf("it signs no longer: %d %v", status, reply)
			}
		}
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"a broken file":           {"keysets:\n", "keysets: [\n", "bad_configuration"},
		"what needs a restart":    {"public: 127.0.0.1:0", "public: off", "restart keysetd"},
		"a relation is not right": {"keys: [p-256]", "keys: [p-256], rotation: {period: 1h, lead: 2h}", "lead 2h is longer than period 1h"},
		"a vanished keyset":       {"  other: {purpose: raw, keys: [p-256]}\n", "", "--remove other"},
	} {
		t.Run(name, func(t *testing.T) {
			check := same(t)
			s.edit(c.from, c.to)
			defer s.write("keysetd.yaml", string(good))
			for _, args := range [][]string{{"reload", "--dry-run"}, {"reload"}} {
				if stderr := d.refused(args, c.want); strings.Count(stderr, "\n") != 1 {
					t.Errorf("%v: more than one line: %q", args, stderr)
				}
			}
			check()
		})
	}

	t.Run("SIGHUP", func(t *testing.T) {
		check := same(t)
		s.edit("keysets:\n", "keysets: [\n")
		syscall.Kill(pid, syscall.SIGHUP)
		eventually(t, 10*time.Second, "the log says that it was not loaded", func() bool {
			return strings.Contains(d.logged(), "the configuration was not loaded")
		})
		check()
		s.write("keysetd.yaml", string(good))
		s.edit("  second:", "  third:")
		syscall.Kill(pid, syscall.SIGHUP)
		eventually(t, 10*time.Second, "the log says what changed", func() bool {
			return strings.Contains(d.logged(), "callers: second is removed") && strings.Contains(d.logged(), `"by":"SIGHUP"`)
		})
		check()
	})

	t.Run("a keyset is removed", func(t *testing.T) {
		page := kids(d.jwks("other"))
		s.edit("  other: {purpose: raw, keys: [p-256]}\n", "")
		if out := d.ctl("reload", "--dry-run", "--remove", "other"); !strings.Contains(out, "keyset other: is removed") {
			t.Errorf("a dry run says %q", out)
		}
		if status, reply := d.call("POST", "/v1/keysets/other/sign", `{"alg":"ES256","payload":"eA"}`); status != 200 {
			t.Errorf("after a dry run it does not sign: %v", reply)
		}
		d.ctl("reload", "--remove", "other")
		if status, reply := d.call("POST", "/v1/keysets/other/sign", `{"alg":"ES256","payload":"eA"}`); status == 200 {
			t.Errorf("a removed keyset signs: %v", reply)
		}
		if got := kids(d.jwks("other")); !slices.Contains(got, page[0]) {
			t.Errorf("on the page are %q, were %q", got, page)
		}
		if _, reply := d.call("GET", "/v1/keysets/other", ""); reply["mode"] != "removed" {
			t.Errorf("its status is %v", reply)
		}
		get(t, "http://"+d.Public+"/readyz")
	})
	t.Run("a restart", func(t *testing.T) {
		page, gone := kids(d.jwks("default")), kids(d.jwks("other"))
		d.stop()
		d = s.serve()
		if got := kids(d.jwks("default")); !slices.Equal(got, page) {
			t.Errorf("on the page are %q, were %q", got, page)
		}
		if got := kids(d.jwks("other")); !slices.Equal(got, gone) {
			t.Errorf("of the removed keyset are on the page %q, were %q", got, gone)
		}
	})
}
