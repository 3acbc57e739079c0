package main_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	v1 "keysetd.example/api/v1"
)

const allSpecs = `
  default:
    purpose: jwt
    issuer: https://issuer.example
    keys: [rsa-2048, p-256, p-384, p-521, ed25519]
    certificate: {issuer: self, subject: {organization: Example, organizational_unit: Tokens, locality: Zurich, province: ZH, country: CH}}
  raw:
    purpose: raw
    keys: [rsa-3072, p-256, ed25519]
    publish: {algorithms: [RS256, PS512]}
    certificate: {issuer: self, subject: {organization: Example, country: CH}}
`

var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// claims as a service would send them; the odd spacing must survive.
func claims(sub string) string {
	return fmt.Sprintf(`{ "iss":"https://issuer.example", "sub":%q,  "aud":"api", "exp":%d }`, sub, time.Now().Add(5*time.Minute).Unix())
}

// TestTheMainJob is a user's way from a fresh token to verified signatures, through a
// restart and a killed worker.
func TestTheMainJob(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(allSpecs)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()

	set := d.jwks("default")
	if len(set.Keys) != 10 {
		t.Fatalf("%d keys in the JWKS, want five active and five pending", len(set.Keys))
	}
	t.Run("tokens", func(t *testing.T) { verifyTokens(t, d, set) })
	t.Run("raw", func(t *testing.T) { verifyRaw(t, d) })
	t.Run("chains", func(t *testing.T) { verifyChains(t, set) })
	t.Run("members", func(t *testing.T) { verifyMembers(t, set, d.jwks("raw")) })
	t.Run("attributes", func(t *testing.T) { verifyAttributes(t, s) })
	t.Run("keysetctl", func(t *testing.T) { verifyOperatorsTool(t, d) })
	t.Run("metrics", func(t *testing.T) { verifyMetrics(t, d) })

	t.Run("the worker is killed", func(t *testing.T) {
		before := d.worker()
		syscall.Kill(before, syscall.SIGKILL)
		begun := time.Now()
		status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"alg":"ES256","claims":`+claims("after the kill")+`}`)
		if status != 200 {
			t.Fatalf("status %d after the kill: %v\n%s", status, reply, d.logged())
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("signed again only after %v", took)
		}
		if now := d.worker(); now == before {
			t.Errorf("worker %d is still the one that was killed", now)
		}
		if got := d.metric(`keysetd_worker_restarts_total{token="default"}`); got != 1 {
			t.Errorf("keysetd_worker_restarts_total is %v after one kill", got)
		}
	})
	t.Run("the audit log is rotated", func(t *testing.T) { rotateAudit(t, s, d) })
	t.Run("a restart", func(t *testing.T) {
		worker := d.worker()
		d.stop()
		if alive(worker) {
			t.Errorf("worker %d outlived the daemon", worker)
		}
		d = s.serve()
		if got, want := kids(d.jwks("default")), kids(set); !slices.Equal(got, want) {
			t.Errorf("kids after the restart\n%v\nwant\n%v", got, want)
		}
		verifyTokens(t, d, set)
	})
	t.Run("the daemon is killed", func(t *testing.T) {
		worker := d.worker()
		d.cmd.Process.Kill()
		<-d.exited
		eventually(t, 5*time.Second, "the worker ends with the daemon", func() bool { return !alive(worker) })
		d = s.serve() // the stale socket is replaced
		verifyTokens(t, d, set)
	})
	t.Run("no secret", func(t *testing.T) { noSecret(t, s, d) })
}

// verifyTokens signs with every algorithm and has go-jose and golang-jwt verify it.
func verifyTokens(t *testing.T, d *daemon, set jose.JSONWebKeySet) {
	for _, alg := range algorithms {
		want := claims(alg)
		status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"alg":"`+alg+`","claims":`+want+`,"header":{"typ":"at+jwt"}}`)
		if status != 200 {
			t.Errorf("%s: status %d: %v", alg, status, reply)
			continue
		}
		token, kid := reply["token"].(string), reply["kid"].(string)
		keys := set.Key(kid)
		if len(keys) != 1 {
			t.Errorf("%s: %d keys in the JWKS with the token's kid %q", alg, len(keys), kid)
			continue
		}
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		payload, err := jws.Verify(keys[0])
		if err != nil {
			t.Errorf("%s: go-jose: %v", alg, err)
		}
		if string(payload) != want {
			t.Errorf("%s: payload %s is not byte for byte what was sent, %s", alg, payload, want)
		}
		if typ := jws.Signatures[0].Protected.ExtraHeaders["typ"]; typ != "at+jwt" {
			t.Errorf("%s: typ %v", alg, typ)
		}
		parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return keys[0].Key, nil },
			jwt.WithValidMethods([]string{alg}), jwt.WithIssuer("https://issuer.example"), jwt.WithExpirationRequired())
		if err != nil || parsed.Header["kid"] != kid {
			t.Errorf("%s: golang-jwt: %v, kid %v", alg, err, parsed.Header["kid"])
		}
		verifySigningInput(t, d, alg, kid, keys[0].Key)
	}
}

// verifySigningInput does what a JOSE library does that has its signing elsewhere.
func verifySigningInput(t *testing.T, d *daemon, alg, kid string, key any) {
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(`{"kid":"`+kid+`","alg":"`+alg+`","typ":"JWT"}`)) + "." + b64([]byte(claims("input")))
	status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"signing_input":"`+input+`"}`)
	if status != 200 {
		t.Errorf("%s: signing input: status %d: %v", alg, status, reply)
		return
	}
	if _, err := jwt.Parse(input+"."+reply["signature"].(string), func(*jwt.Token) (any, error) { return key, nil }, jwt.WithValidMethods([]string{alg})); err != nil {
		t.Errorf("%s: signing input: %v", alg, err)
	}
}

func verifyRaw(t *testing.T, d *daemon) {
	set := d.jwks("raw")
	message := []byte("a SAML assertion, canonicalised")
	digest := sha256.Sum256(message)
	b64 := base64.RawURLEncoding.EncodeToString
	for _, c := range []struct {
		body   string
		verify func(key any, sig []byte) bool
	}{
		{`{"alg":"RS256","digest":"` + b64(digest[:]) + `"}`, func(key any, sig []byte) bool {
			return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, digest[:], sig) == nil
		}},
		{`{"alg":"PS256","payload":"` + b64(message) + `"}`, func(key any, sig []byte) bool {
			return rsa.VerifyPSS(key.(*rsa.PublicKey), crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: 32}) == nil
		}},
		{`{"alg":"ES256","digest":"` + b64(digest[:]) + `","encoding":"der"}`, func(key any, sig []byte) bool {
			return ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], sig)
		}},
		{`{"alg":"EdDSA","payload":"` + b64(message) + `"}`, func(key any, sig []byte) bool {
			return ed25519.Verify(key.(ed25519.PublicKey), message, sig)
		}},
	} {
		status, reply := d.call("POST", "/v1/keysets/raw/sign", c.body)
		if status != 200 {
			t.Errorf("%s: status %d: %v", c.body, status, reply)
			continue
		}
		keys := set.Key(reply["kid"].(string))
		sig, err := base64.RawURLEncoding.DecodeString(reply["signature"].(string))
		if err != nil || len(keys) != 1 || !c.verify(keys[0].Key, sig) {
			t.Errorf("%s: does not verify: %v (%d keys)", c.body, reply, len(keys))
		}
	}
}

func verifyChains(t *testing.T, set jose.JSONWebKeySet) {
	for _, k := range set.Keys {
		if len(k.Certificates) == 0 {
			t.Errorf("%s: no x5c", k.KeyID)
			continue
		}
		leaf := k.Certificates[0]
		roots := x509.NewCertPool()
		roots.AddCert(leaf)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", k.KeyID, err)
		}
		if !leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Key) {
			t.Errorf("%s: the certificate is for another key", k.KeyID)
		}
		if sum := sha256.Sum256(leaf.Raw); !bytes.Equal(k.CertificateThumbprintSHA256, sum[:]) {
			t.Errorf("%s: x5t#S256 is not the certificate's", k.KeyID)
		}
		if got := leaf.Subject.String(); !strings.Contains(got, "O=Example") || !strings.Contains(got, "C=CH") || !strings.Contains(got, "OU=Tokens") || leaf.Subject.CommonName == "" {
			t.Errorf("%s: subject %s", k.KeyID, got)
		}
		// lead, period and retain are 12 h each.
		if leaf.NotAfter.Before(time.Now().Add(36*time.Hour)) || leaf.NotBefore.After(time.Now()) {
			t.Errorf("%s: valid from %v until %v", k.KeyID, leaf.NotBefore, leaf.NotAfter)
		}
	}
}

// verifyMembers holds the JWKS against what the RFCs and the design say of its members.
func verifyMembers(t *testing.T, jwt, raw jose.JSONWebKeySet) {
	for _, k := range jwt.Keys {
		thumbprint, err := k.Thumbprint(crypto.SHA256)
		if want := base64.RawURLEncoding.EncodeToString(thumbprint); err != nil || k.KeyID != want {
			t.Errorf("kid %s is not the thumbprint %s (%v)", k.KeyID, want, err)
		}
		_, isRSA := k.Key.(*rsa.PublicKey)
		if k.Use != "sig" || isRSA != (k.Algorithm == "") || !k.IsPublic() {
			t.Errorf("%s: use %q, alg %q, public %v", k.KeyID, k.Use, k.Algorithm, k.IsPublic())
		}
	}
	if got := kids(raw); !slices.ContainsFunc(got, func(k string) bool { return strings.HasSuffix(k, "-RS256") }) ||
		!slices.ContainsFunc(got, func(k string) bool { return strings.HasSuffix(k, "-PS512") }) {
		t.Errorf("publish.algorithms did not publish the RSA key again: %v", got)
	}
}

// verifyAttributes reads the keys with OpenSC's tool, which knows nothing of keysetd.
func verifyAttributes(t *testing.T, s *site) {
	out := s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--login", "--pin", pin, "--list-objects", "--type", "privkey")
	objects := strings.Split(out, "Private Key Object")[1:]
	if len(objects) != 18 { // (5 + 3) specs and that of keyset audit, two generations
		t.Fatalf("%d private keys on the token:\n%s", len(objects), out)
	}
	label := regexp.MustCompile(`label: +keysetd/[0-9a-f-]+/(default|raw|audit)/[12]/(rsa|p|ed25519)`)
	for _, o := range objects {
		if !label.MatchString(o) {
			t.Errorf("label is not ours: %s", o)
		}
		access := regexp.MustCompile(`Access: *(.*)`).FindStringSubmatch(o)
		for _, want := range []string{"sensitive", "always sensitive", "never extractable", "local"} {
			if access == nil || !strings.Contains(access[1], want) {
				t.Errorf("not %s: %s", want, o)
			}
		}
		if usage := regexp.MustCompile(`Usage: *(.*)`).FindStringSubmatch(o); usage == nil || strings.TrimSpace(usage[1]) != "sign" {
			t.Errorf("usage is not sign alone: %s", o)
		}
	}
}

func verifyOperatorsTool(t *testing.T, d *daemon) {
	status := d.ctl("status")
	for _, want := range []string{"default", "raw", "active", "pending", "KID", "UNTIL"} {
		if !strings.Contains(status, want) {
			t.Errorf("keysetctl status does not show %q:\n%s", want, status)
		}
	}
	var list struct{ Keysets []struct{ Name string } }
	if err := json.Unmarshal([]byte(d.ctl("status", "--json")), &list); err != nil || len(list.Keysets) != 2 {
		t.Errorf("keysetctl status --json: %v, %v", err, list)
	}
	token := strings.TrimSpace(d.ctl("sign", "default", "--alg", "ES256", "--claims", claims("ctl")))
	published := d.jwks("default")
	if _, err := jwt.Parse(token, func(tok *jwt.Token) (any, error) { return published.Key(tok.Header["kid"].(string))[0].Key, nil }); err != nil {
		t.Errorf("keysetctl sign printed %q: %v", token, err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(d.ctl("jwks", "default", "--url", "http://"+d.Public)), &set); err != nil || len(set.Keys) != 10 {
		t.Errorf("keysetctl jwks: %v, %d keys", err, len(set.Keys))
	}
}

func verifyMetrics(t *testing.T, d *daemon) {
	page := string(get(t, "http://"+d.Metrics+"/metrics"))
	for series, atLeast := range map[string]float64{
		`keysetd_sign_duration_seconds_count{alg="ES512",outcome="ok"}`:                                      2,
		`keysetd_sign_duration_seconds_bucket{alg="PS256",outcome="ok",le="10"}`:                             2,
		`keysetd_token_operation_duration_seconds_count{mechanism="ECDSA",operation="sign",token="default"}`: 6,
		`keysetd_session_wait_seconds_count{token="default"}`:                                                20,
		`keysetd_requests_total{code="ok",door="http",operation="jwt"}`:                                      20,
		`keysetd_signatures_total{alg="EdDSA",keyset="default"}`:                                             2,
		`keysetd_token_up{token="default"}`:                                                                  1,
		`keysetd_generations{keyset="default",state="active"}`:                                               1,
		`keysetd_generations{keyset="raw",state="pending"}`:                                                  1,
		`keysetd_next_rotation_timestamp_seconds{keyset="default"}`:                                          float64(time.Now().Unix()),
		`process_resident_memory_bytes`:                                                                      1,
		`go_goroutines`:                                                                                      1,
		`keysetd_worker_go_goroutines{token="default"}`:                                                      1,
		`keysetd_worker_process_resident_memory_bytes{token="default"}`:                                      1,
	} {
		if got := value(page, series); got < atLeast {
			t.Errorf("%s is %v, want at least %v", series, got, atLeast)
		}
	}
	if value(page, `keysetd_worker_restarts_total{token="default"}`) != 0 {
		t.Errorf("worker restarts without a cause")
	}
	if !strings.Contains(page, "keysetd_build_info{") {
		t.Errorf("no keysetd_build_info")
	}
}

// rotateAudit does what logrotate does.
func rotateAudit(t *testing.T, s *site, d *daemon) {
	if err := os.Rename(s.path("audit.jsonl"), s.path("audit.jsonl.1")); err != nil {
		t.Fatal(err)
	}
	d.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, 5*time.Second, "the audit log is made anew", func() bool {
		_, err := os.Stat(s.path("audit.jsonl"))
		return err == nil
	})
	d.call("POST", "/v1/keysets/default/jwt", `{"alg":"ES256","claims":`+claims("after the rotation")+`}`)
	if b, err := os.ReadFile(s.path("audit.jsonl")); err != nil || !strings.Contains(string(b), `"outcome":"granted"`) {
		t.Errorf("the new audit log has %q (%v)", b, err)
	}
}

// noSecret looks for the PIN wherever somebody else could.
func noSecret(t *testing.T, s *site, d *daemon) {
	places := map[string]string{"log": d.logged()}
	for _, name := range []string{"audit.jsonl", "state.db"} {
		b, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		places[name] = string(b)
	}
	for _, pid := range []int{d.cmd.Process.Pid, d.worker()} {
		for _, name := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if err != nil && (os.Getuid() == 0 || !errors.Is(err, fs.ErrPermission)) { // who is not root may not look
				t.Fatal(err)
			}
			places[fmt.Sprint(name, " of ", pid)] = string(b)
		}
		limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if !regexp.MustCompile(`Max core file size +0 +0`).Match(limits) {
			t.Errorf("process %d may write a core:\n%s", pid, limits)
		}
		// Not dumpable: the kernel gives what it shows of the process to root (proc(5)). Where that
		// is who runs the test nothing shows, and the tests of internal/harden have to do.
		info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("process %d is dumpable (%v)", pid, err)
		}
	}
	for place, text := range places {
		if strings.Contains(text, pin) || strings.Contains(text, hex.EncodeToString([]byte(pin))) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(pin))) {
			t.Errorf("the PIN is in %s", place)
		}
	}
}

// TestRotation watches a keyset of a few seconds' period through three activations.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(`
  default:
    purpose: jwt
    issuer: https://issuer.example
    keys: [p-256]
    rotation: {period: 4s, clock_skew: 500ms}
    max_token_lifetime: 3s
    publish: {max_age: 1s}
    certificate: {issuer: none}
`)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	var signedWith []string
	eventually(t, time.Minute, "three rotations", func() bool {
		// A verifier that fetches the page and believes it for its max-age.
		fetched := time.Now()
		page := kids(d.jwks("default"))
		exp := time.Now().Add(2 * time.Second).Unix()
		status, reply := d.call("POST", "/v1/keysets/default/jwt", fmt.Sprintf(`{"claims":{"iss":"https://issuer.example","exp":%d}}`, exp))
		if status != 200 {
			t.Fatalf("status %d: %v", status, reply)
		}
		kid := reply["kid"].(string)
		if fresh := time.Since(fetched) < time.Second; fresh && !slices.Contains(page, kid) {
			t.Errorf("signed with %s, which a page that is still fresh does not have", kid)
		}
		if !slices.Contains(signedWith, kid) {
			signedWith = append(signedWith, kid)
		}
		return len(signedWith) >= 4
	})
	eventually(t, 20*time.Second, "a pending generation that knows when it will sign", func() bool {
		var state v1.Keyset
		if err := json.Unmarshal([]byte(d.ctl("status", "default", "--json")), &state); err != nil {
			t.Fatal(err)
		}
		for _, g := range state.Generations {
			if g.State != "pending" || g.Until.IsZero() {
				continue
			}
			if lead := g.Until.Sub(g.Since); lead < 4*time.Second {
				t.Errorf("pending for %v only; lead is 4s", lead)
			}
			return true
		}
		return false
	})
	// What was destroyed is gone from the token, and nothing else is on it.
	eventually(t, 20*time.Second, "three generations on the token", func() bool {
		return len(s.privateKeys()) == len(d.jwks("default").Keys)
	})
	if got := len(d.jwks("default").Keys); got > 3 {
		t.Errorf("%d generations are published", got)
	}
}

// worker returns the pid of the daemon's one child.
func (d *daemon) worker() int {
	d.t.Helper()
	var pid int
	eventually(d.t, 5*time.Second, "the daemon has a worker", func() bool {
		pid = childOf(d.cmd.Process.Pid)
		return pid != 0
	})
	return pid
}

func childOf(parent int) int {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if state, ppid := procStat(pid); ppid == parent && state != "Z" {
			return pid
		}
	}
	return 0
}

// alive: there is such a process, and it is not just waiting for its parent to notice.
func alive(pid int) bool {
	state, _ := procStat(pid)
	return state != "" && state != "Z"
}

// procStat returns a process's state and parent (proc_pid_stat(5)), or "" if it is gone.
func procStat(pid int) (state string, parent int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(f[1])
	return f[0], parent
}

func (d *daemon) metric(series string) float64 {
	d.t.Helper()
	return value(string(get(d.t, "http://"+d.Metrics+"/metrics")), series)
}

// value of one series on a metrics page, its labels in the order of the page; -1 if it is not there.
func value(page, series string) float64 {
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			f, err := strconv.ParseFloat(rest, 64)
			if err == nil {
				return f
			}
		}
	}
	return -1
}
