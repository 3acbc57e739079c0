package main_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBadRequests sends what must be refused. Each gets one clear problem with its
// reason word, and the daemon goes on.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(`
  default: {purpose: jwt, issuer: "https://issuer.example", keys: [p-256], certificate: {issuer: none}}
  raw: {purpose: raw, keys: [p-256], certificate: {issuer: none}}
`)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	exp := time.Now().Add(time.Minute).Unix()
	big := strings.Repeat("x", 65<<10)
	refusals := 0
	digest := func(n int) string { return base64.RawURLEncoding.EncodeToString(make([]byte, n)) }
	for _, c := range []struct {
		path, body string
		status     int
		reason     string
	}{
		{"default/jwt", `{"claims":[1]}`, 400, "bad_claims"},
		{"default/jwt", `{"claims":"x"}`, 400, "bad_claims"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d,"sub":"a","sub":"b"}}`, exp), 400, "bad_claims"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d.5}}`, exp), 400, "bad_claims"},
		{"default/jwt", `{"claims":{"exp":1e400}}`, 400, "bad_claims"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":"%d"}}`, exp), 400, "bad_claims"},
		{"default/jwt", `{"claims":{"sub":"no exp"}}`, 400, "bad_claims"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d,"x":"%s"}}`, exp, big), 413, "too_large"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d}}`, exp+100*3600), 400, "lifetime_too_long"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d,"iss":"https://evil.example"}}`, exp), 400, "issuer_mismatch"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d},"alg":"RS256"}`, exp), 400, "algorithm_unavailable"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d},"alg":"none"}`, exp), 400, "algorithm_unavailable"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d},"kid":"nobody"}`, exp), 409, "kid_not_active"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d},"header":{"crit":["x"]}}`, exp), 400, "bad_header"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d},"surprise":1}`, exp), 400, "bad_request"},
		{"default/jwt", fmt.Sprintf(`{"claims":{"exp":%d}} {}`, exp), 400, "bad_request"},
		{"default/jwt", `{`, 400, "bad_request"},
		{"default/jwt", `{"signing_input":"e30.e30"}`, 400, "bad_signing_input"},
		{"default/sign", `{"digest":"` + digest(32) + `"}`, 403, "purpose_mismatch"},
		{"raw/sign", `{"digest":"` + digest(31) + `"}`, 400, "bad_digest"},
		{"raw/jwt", fmt.Sprintf(`{"claims":{"exp":%d}}`, exp), 403, "purpose_mismatch"},
		{"nobody/jwt", fmt.Sprintf(`{"claims":{"exp":%d}}`, exp), 404, "keyset_unknown"},
	} {
		refusals++
		status, reply := d.call("POST", "/v1/keysets/"+c.path, c.body)
		name := c.path + " " + c.body[:min(len(c.body), 60)]
		if status != c.status || reply["reason"] != c.reason {
			t.Errorf("%s\ngot  %d %v\nwant %d %s", name, status, reply, c.status, c.reason)
		}
		if detail, _ := reply["detail"].(string); len(detail) < 10 || strings.Contains(detail, "\n") {
			t.Errorf("%s: detail %q is not one clear line", name, detail)
		}
	}
	eventually(t, 5*time.Second, fmt.Sprintf("%d refusals are in the audit log", refusals), func() bool { return s.refusals() == refusals })
	if status, _ := d.call("POST", "/v1/keysets/default/jwt", fmt.Sprintf(`{"claims":{"exp":%d}}`, exp)); status != 200 {
		t.Errorf("status %d after all that", status)
	}
}

// TestCallers: nobody but the one the configuration names may sign; half a request
// harms nobody.
func TestCallers(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else: run it as root too, as .ci/run does")
	}
	s := newSite(t)
	s.configure(`
  default: {purpose: jwt, issuer: "https://issuer.example", keys: [p-256], certificate: {issuer: none}}
`)
	yaml, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(yaml), `socket_mode: "0600"`, `socket_mode: "0666"`, 1)
	text = strings.Replace(text, "callers:", `callers:
  es: {uid: 4711, keysets: [default], operations: [jwt], algorithms: [ES256]}`, 1)
	s.write("keysetd.yaml", text)
	if err := os.Chmod(s.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()

	half, err := net.Dial("unix", d.Socket) // half a request, and silence
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	fmt.Fprintf(half, "POST /v1/keysets/default/jwt HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")

	body := fmt.Sprintf(`{"claims":{"exp":%d}}`, time.Now().Add(time.Minute).Unix())
	for _, c := range []struct {
		uid  uint32
		want string
	}{
		{4711, `"token"`},
		{4712, `"not_granted"`}, // no grant
		{65534, `overflow uid`}, // the kernel's word for "somebody of another user namespace"
	} {
		cmd := exec.Command("curl", "-sS", "--unix-socket", d.Socket, "http://localhost/v1/keysets/default/jwt", "-H", "Content-Type: application/json", "-d", body)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("uid %d: %v: %s\nwant %s", c.uid, err, out, c.want)
		}
	}
	audit, err := os.ReadFile(s.path("audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"uid":4711`, `"uid":4712`, `"granted"`, `"refused"`} {
		if !strings.Contains(string(audit), want) {
			t.Errorf("no %s in the audit log:\n%s", want, audit)
		}
	}
}

// TestBadInstallations starts keysetd on what cannot work. Each gets one clear line.
func TestBadInstallations(t *testing.T) {
	t.Parallel()
	const keysets = "  default: {purpose: jwt, issuer: \"https://issuer.example\", keys: [p-256], certificate: {issuer: none}}\n"
	for _, c := range []struct {
		name    string
		change  func(s *site, yaml string) string
		command string
		want    []string // all in the one line
	}{
		{"unknown field", func(_ *site, y string) string { return y + "surprise: 1\n" }, "check", []string{"keysetd.yaml:", "surprise"}},
		{"wrong type", func(_ *site, y string) string { return strings.Replace(y, "[p-256]", "7", 1) }, "check", []string{"keysetd.yaml:", "keys"}},
		{"a relation that cannot hold", func(_ *site, y string) string {
			return strings.Replace(y, "keys: [p-256]", "keys: [p-256], rotation: {lead: 5m, clock_skew: 30s}, publish: {max_age: 10m}", 1)
		}, "check", []string{"keyset default: lead 5m", "max_age 10m", "clock_skew 30s"}},
		{"a grant to the overflow uid", func(_ *site, y string) string {
			return strings.Replace(y, "callers:", "callers:\n  x: {uid: 65534, keysets: [\"*\"], operations: [read]}", 1)
		}, "check", []string{"65534", "overflow"}},
		{"inline PIN", func(_ *site, y string) string { return strings.Replace(y, "{file: pin}", `"`+pin+`"`, 1) }, "check", []string{"keysetd.yaml:", "pin"}},
		{"the same address twice", func(_ *site, y string) string {
			return strings.Replace(y, "public: 127.0.0.1:0, metrics: 127.0.0.1:0", "public: 127.0.0.1:18080, metrics: 127.0.0.1:18080", 1)
		}, "check", []string{"listen.metrics", "address of public"}},
		{"no directory for the store", func(_ *site, y string) string {
			return strings.Replace(y, "path: state.db", "path: nowhere/state.db", 1)
		},
			"init", []string{"store.path", "nowhere", "make it"}},
		{"keys of a lost store", func(s *site, y string) string {
			s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
			if err := os.Remove(s.path("state.db")); err != nil {
				s.t.Fatal(err)
			}
			return y
		}, "init", []string{"keyset default", "backup", "--beside-others"}},
		{"missing module", func(_ *site, y string) string { return strings.Replace(y, softhsm, "/nowhere/module.so", 1) }, "check", []string{"/nowhere/module.so"}},
		{"no such token", func(_ *site, y string) string { return strings.Replace(y, "label: e2e", "label: other", 1) }, "check", []string{"other", "e2e"}},
		{"two such tokens", func(s *site, y string) string { s.initToken("e2e"); return y }, "check", []string{"e2e", "serial"}},
		{"no store", func(_ *site, y string) string { return y }, "serve", []string{"state.db", "keysetd init"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.configure(keysets)
			yaml, err := os.ReadFile(s.path("keysetd.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			s.write("keysetd.yaml", c.change(s, string(yaml)))
			stdout, stderr, err := s.keysetd(c.command, "-c", s.path("keysetd.yaml"))
			if err == nil {
				t.Fatalf("keysetd %s accepted it:\n%s", c.command, stdout)
			}
			line := stderr
			for l := range strings.Lines(stderr) {
				if !strings.HasPrefix(l, "keysetd: ") && !strings.Contains(l, "level=INFO") {
					t.Errorf("beside the error it prints %q", l)
				}
			}
			for _, want := range c.want {
				if !strings.Contains(line, want) {
					t.Errorf("%q does not say %q\n%s", line, want, stderr)
				}
			}
			if strings.Contains(stdout+stderr, pin) {
				t.Errorf("the PIN is shown: %s%s", stdout, stderr)
			}
		})
	}
}

// TestWrongPIN: whatever is started, a wrong PIN is tried once, until an operator allows
// one more attempt.
func TestWrongPIN(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("  default: {purpose: jwt, issuer: \"https://issuer.example\", keys: [p-256], certificate: {issuer: none}}\n")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	right := pin
	s.write("pin", "not-"+right+"\n")
	_, stderr, err := s.keysetd("check", "-c", s.path("keysetd.yaml"))
	if err == nil || !strings.Contains(stderr, "PIN") {
		t.Fatalf("check with a wrong PIN: %v\n%s", err, stderr)
	}
	// Even with the right PIN back nobody logs in, for nothing tells that it is right.
	s.write("pin", right+"\n")
	_, stderr, err = s.keysetd("check", "-c", s.path("keysetd.yaml"))
	if err == nil || !strings.Contains(stderr, "keysetctl pin retry") {
		t.Errorf("check after a wrong PIN: %v\n%s", err, stderr)
	}
	d := s.start("listening")
	body := fmt.Sprintf(`{"claims":{"exp":%d}}`, time.Now().Add(time.Minute).Unix())
	if status, _, err := d.tryCall("GET", "/v1/keysets", ""); err != nil || status != 200 {
		t.Errorf("the door of a daemon without its token: %d, %v", status, err)
	}
	if len(d.jwks("default").Keys) != 2 {
		t.Error("the JWKS is not served while the token is blocked")
	}
	if got := d.metric(`keysetd_token_up{token="default"}`); got != 0 {
		t.Errorf("keysetd_token_up is %v", got)
	}
	if out := d.ctl("status"); !strings.Contains(out, "keysetctl pin retry") {
		t.Errorf("status does not say what to do:\n%s", out)
	}
	if out := d.ctl("pin", "retry"); !strings.Contains(out, "up") {
		t.Errorf("keysetctl pin retry printed %q", out)
	}
	if status, reply := d.call("POST", "/v1/keysets/default/jwt", body); status != 200 {
		t.Errorf("after the retry: %d %v", status, reply)
	}
}

// TestAnotherToken: the same label with another serial number is not the same token, until
// an operator says that it is.
func TestAnotherToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("  default: {purpose: jwt, issuer: \"https://issuer.example\", keys: [p-256], certificate: {issuer: none}}\n")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	s.tool("softhsm2-util", "--delete-token", "--token", "e2e")
	s.initToken("e2e")
	_, stderr, err := s.keysetd("check", "-c", s.path("keysetd.yaml"))
	if err == nil || !strings.Contains(stderr, "serial") {
		t.Errorf("check on another token: %v\n%s", err, stderr)
	}
	d := s.start("listening")
	eventually(t, 10*time.Second, "status tells of the other serial number", func() bool {
		return strings.Contains(d.ctl("status"), "keysetctl token accept")
	})
	if len(d.jwks("default").Keys) != 2 {
		t.Error("the JWKS is not served while the token is refused")
	}
	if out := d.ctl("token", "accept"); !strings.Contains(out, "is up") {
		t.Errorf("keysetctl token accept printed %q", out)
	}
}
