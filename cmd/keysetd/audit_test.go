package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"keysetd.example/api/v1/keysetdpb"
)

// auditKID is the thumbprint of the first audit key, as `keysetd init` printed it.
func auditKID(t *testing.T, printed string) string {
	t.Helper()
	row := regexp.MustCompile(`(?m)^audit +1 +active +p-256 +(\S+)$`).FindStringSubmatch(printed)
	if row == nil {
		t.Fatalf("init does not print the audit key:\n%s", printed)
	}
	return row[1]
}

// head is the last checkpoint that the daemon logged.
func (d *daemon) head() (jws string) {
	d.t.Helper()
	for line := range strings.Lines(d.logged()) {
		var l struct{ Msg, Checkpoint string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "audit checkpoint" {
			jws = l.Checkpoint
		}
	}
	if jws == "" {
		d.t.Fatalf("no checkpoint is in the log:\n%s", d.logged())
	}
	return jws
}

// verifyAudit runs keysetctl audit verify, and returns what it printed and how it ended.
func verifyAudit(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(keysetctl, append([]string{"audit", "verify"}, args...)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil {
		exit, ended := errors.AsType[*exec.ExitError](err)
		if !ended {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return o.String(), e.String(), code
}

// chained verifies a log in which nothing may be wrong.
func chained(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	stdout, stderr, code := verifyAudit(t, args...)
	if code != 0 {
		t.Fatalf("audit verify %v: exit %d: %s\n%s", args, code, stderr, stdout)
	}
	return stdout
}

// rotateLog does what logrotate does, and waits until the daemon writes to the new file.
func (s *site) rotateLog(d *daemon, to string) {
	s.t.Helper()
	if err := os.Rename(s.path("audit.jsonl"), s.path(to)); err != nil {
		s.t.Fatal(err)
	}
	d.cmd.Process.Signal(syscall.SIGHUP)
	eventually(s.t, 20*time.Second, "the reload by SIGHUP stands in the new file", func() bool {
		b, err := os.ReadFile(s.path("audit.jsonl"))
		return err == nil && bytes.Contains(b, []byte("SIGHUP"))
	})
}

func (s *site) lines(name string) []string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// auditLine is what tests look for in one.
type auditLine struct {
	Operation, Outcome, Reason string
	Caller                     struct{ UID int }
	Count                      int
	Reasons                    map[string]int
	text                       string
}

func (s *site) auditLines(name string) (lines []auditLine) {
	s.t.Helper()
	for _, text := range s.lines(name) {
		l := auditLine{text: text}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			s.t.Fatalf("%q: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// refused is how many refusals for this reason the line stands for; "" for any.
func (l auditLine) refused(reason string) int {
	switch {
	case l.Outcome != "refused":
		return 0
	case reason == "":
		return max(l.Count, 1)
	case l.Count > 0:
		return l.Reasons[reason]
	case l.Reason == reason:
		return 1
	}
	return 0
}

// refusals is how many the audit log tells of.
func (s *site) refusals() (n int) {
	for _, l := range s.auditLines("audit.jsonl") {
		n += l.refused("")
	}
	return n
}

// TestAudit follows the log of one installation from its first key to its last checkpoint.
func TestAudit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(`  default: {purpose: any, any_issuer: true, keys: [p-256]}`)
	kid := auditKID(t, s.mustKeysetd("init", "-c", s.path("keysetd.yaml")))
	d := s.serve()
	t.Run("no door", func(t *testing.T) { noDoorToAudit(t, d) })
	sign := func(n int) {
		for range n {
			d.mustToken("default", "ES256", time.Minute)
		}
	}
	sign(3)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.audited("jwt", "granted", `"exe":"`+exe+`"`, `"exp":`)
	d.ctl("sign", "default", "--alg", "ES256", "--claims", claims("ctl"))
	s.audited("jwt", "granted", `"exe":"`+keysetctl+`"`)
	s.rotateLog(d, "audit.jsonl.1")
	sign(3)
	t.Run("a burst of refusals", func(t *testing.T) { refusalsCollapse(t, s, d) })
	d.stop() // within the second in which refusals are counted
	if strings.Contains(d.logged(), "is late") {
		t.Errorf("an orderly end leaves a checkpoint undone:\n%s", lastLines(d.logged(), 5))
	}

	head := d.head()
	one, two := s.lines("audit.jsonl.1"), s.lines("audit.jsonl")
	known := []string{"--kid", kid, "--head", head}
	files := []string{s.path("audit.jsonl"), s.path("audit.jsonl.1")}
	out := chained(t, append(files, known...)...)
	contains(t, "audit verify", out, fmt.Sprintf("%d lines, 1 to %[1]d, ", len(one)+len(two)), fmt.Sprintf("proven up to line %d by the checkpoints of %s (", len(one)+len(two)-1, kid),
		"not proven: 1 lines after line")
	contains(t, "audit verify", chained(t, files...), "--head", "--kid")
	if out, stderr, code := verifyAudit(t, files[0], "--kid", kid[1:]+"A", "--head", head); code != 1 || !strings.Contains(stderr, "unknown_key") {
		t.Errorf("by another key: %d %s%s", code, out, stderr)
	}
	t.Run("mutations", func(t *testing.T) { mutate(t, s, one, two, known) })
}

// mutate changes the log in every way that there is, and has the line named.
func mutate(t *testing.T, s *site, one, two, known []string) {
	chain := func(one, two []string, from int) (_, _ []string) {
		all := slices.Concat(one, two)
		for i := from; i < len(all); i++ {
			sum := sha256.Sum256([]byte(all[i-1]))
			all[i] = regexp.MustCompile(`"prev":"[^"]*"`).ReplaceAllString(all[i], `"prev":"`+base64.RawURLEncoding.EncodeToString(sum[:])+`"`)
		}
		return all[:len(one)], all[len(one):]
	}
	changed := func(line string) string { return strings.Replace(line, `"outcome":"`, `"outcome":"not `, 1) }
	for name, c := range map[string]struct {
		do   func(one, two []string) (_, _ []string)
		want string
	}{
		"a changed byte":              {func(one, two []string) (_, _ []string) { one[1] = changed(one[1]); return one, two }, ".1:2: changed: "},
		"a removed line":              {func(one, two []string) (_, _ []string) { return slices.Delete(one, 2, 3), two }, ".1:3: missing: "},
		"swapped lines":               {func(one, two []string) (_, _ []string) { one[1], one[3] = one[3], one[1]; return one, two }, ".1:2: reordered: "},
		"a line that stands twice":    {func(one, two []string) (_, _ []string) { return one, slices.Insert(two, 1, two[0]) }, ":2: inserted: "},
		"a cut tail":                  {func(one, two []string) (_, _ []string) { return one, two[:len(two)-3] }, fmt.Sprintf(":%d: cut: ", len(two)-3)},
		"no last file":                {func(one, _ []string) (_, _ []string) { return one, nil }, fmt.Sprintf(".1:%d: cut: ", len(one))},
		"a file that is chained anew": {func(one, two []string) (_, _ []string) { one[1] = changed(one[1]); return chain(one, two, 2) }, fmt.Sprintf(".1:%d: rewritten: ", len(one))},
		"an end that is chained anew": {func(one, two []string) (_, _ []string) {
			two = two[:len(two)-1] // without its checkpoint
			two[0] = changed(two[0])
			return chain(one, two, len(one)+1)
		}, fmt.Sprintf(":%d: rewritten: ", len(two)-1)},
	} {
		a, b := c.do(slices.Clone(one), slices.Clone(two))
		args := []string{s.path("forged.jsonl.1")}
		s.write("forged.jsonl.1", strings.Join(a, "\n")+"\n")
		if b != nil {
			s.write("forged.jsonl", strings.Join(b, "\n")+"\n")
			args = append(args, s.path("forged.jsonl"))
		}
		out, stderr, code := verifyAudit(t, append(args, known...)...)
		if code != 1 || !strings.HasPrefix(stderr, "keysetctl: "+s.path("forged.jsonl")+c.want) {
			t.Errorf("%s: exit %d, want 1 and %q:\n%s%s", name, code, c.want, stderr, out)
		}
	}
}

// refusalsCollapse: few lines tell of all.
func refusalsCollapse(t *testing.T, s *site, d *daemon) {
	const burst = 1000
	c := d.client()
	defer c.CloseIdleConnections()
	begun := time.Now()
	for range burst {
		resp, err := c.Post("http://localhost/v1/keysets/default/jwt", "application/json", strings.NewReader(`{"claims":{"exp":9999999999}}`))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode == http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	took := time.Since(begun)
	d.stop()
	lines, told := 0, 0
	for _, l := range s.auditLines("audit.jsonl") {
		if n := l.refused("lifetime_too_long"); n > 0 {
			lines, told = lines+1, told+n
		}
	}
	if most := 3 + int(took/time.Second); told != burst || lines > most {
		t.Errorf("%d lines tell of %d refusals; %d were refused within %v, which is for %d lines at most", lines, told, burst, took, most)
	}
}

// noDoorToAudit: whoever may do everything finds no such keyset.
func noDoorToAudit(t *testing.T, d *daemon) {
	for path, body := range map[string]string{
		"jwt": `{"claims":{"exp":1}}`, "sign": `{"payload":"eA"}`, "client-assertion": `{"client_id":"c","audience":"a"}`,
		"decrypt": `{"jwe":"a.b.c.d.e"}`, "rotate": `{}`, "revoke": `{"all":true,"reason":"r"}`,
		"freeze": `{"until":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`, "thaw": `{}`, "": "", "key": "", "plan": "", "history": "",
	} {
		method, url := "POST", "/v1/keysets/audit/"+path
		if body == "" {
			method, url = "GET", strings.TrimSuffix(url, "/")
		}
		if status, reply := d.call(method, url, body); status != http.StatusNotFound || reply["reason"] != "keyset_unknown" {
			t.Errorf("%s %s: %d %v", method, url, status, reply)
		}
	}
	status, reply := d.call("POST", "/v1/keysets/audit/batch", `{"items":[{"jwt":{"claims":{"exp":1}}},{"sign":{"payload":"eA"}}]}`)
	if items, _ := reply["items"].([]any); status == http.StatusOK {
		for _, item := range items {
			if e, _ := item.(map[string]any)["error"].(map[string]any); e["reason"] != "keyset_unknown" {
				t.Errorf("in a batch: %v", item)
			}
		}
	} else if reply["reason"] != "keyset_unknown" {
		t.Errorf("a batch: %d %v", status, reply)
	}
	conn := overGRPC(t, d.Socket)
	for what, ask := range auditOverGRPC(t, conn) {
		if reason := reasonOf(ask()); reason != "keyset_unknown" {
			t.Errorf("%s over gRPC: %s", what, reason)
		}
	}
	d.refused([]string{"reload", "--remove", "audit"}, "bad_configuration")

	var list struct{ Keysets []struct{ Name string } }
	d.read("/v1/keysets", &list)
	if len(list.Keysets) != 1 || list.Keysets[0].Name != "default" {
		t.Errorf("listed are %v", list.Keysets)
	}
	if out := d.ctl("status"); strings.Contains(out, "audit") {
		t.Errorf("keysetctl status:\n%s", out)
	}
	resp, err := http.Get("http://" + d.Public + "/keysets/audit/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the page of keyset audit: %s", resp.Status)
	}
	page := string(get(t, "http://"+d.Metrics+"/metrics"))
	if value(page, `keysetd_generations{keyset="audit",state="active"}`) != 1 || value(page, `keysetd_next_rotation_timestamp_seconds{keyset="audit"}`) < float64(time.Now().Unix()) {
		t.Errorf("the metrics do not tell when the audit key is replaced")
	}
	if strings.Contains(page, `keysetd_signatures_total{alg="ES256",keyset="audit"}`) {
		t.Errorf("the metrics count signatures of callers by keyset audit")
	}
}

func auditOverGRPC(t *testing.T, conn *grpc.ClientConn) map[string]func() error {
	const name = "audit"
	ctx := t.Context()
	signer, keysets := keysetdpb.NewSignerClient(conn), keysetdpb.NewKeysetsClient(conn)
	return map[string]func() error{
		"SignJWT": func() error {
			_, err := signer.SignJWT(ctx, &keysetdpb.SignJWTRequest{Keyset: name, Input: &keysetdpb.SignJWTRequest_Claims{Claims: []byte(`{"exp":1}`)}})
			return err
		},
		"SignClientAssertion": func() error {
			_, err := signer.SignClientAssertion(ctx, &keysetdpb.SignClientAssertionRequest{Keyset: name, ClientId: "c", Audience: "a"})
			return err
		},
		"Sign": func() error {
			_, err := signer.Sign(ctx, &keysetdpb.SignRequest{Keyset: name, Input: &keysetdpb.SignRequest_Payload{Payload: []byte("x")}})
			return err
		},
		"Decrypt": func() error {
			_, err := signer.Decrypt(ctx, &keysetdpb.DecryptRequest{Keyset: name, Jwe: "a.b.c.d.e"})
			return err
		},
		"GetKey":  func() error { _, err := signer.GetKey(ctx, &keysetdpb.GetKeyRequest{Keyset: name}); return err },
		"Get":     func() error { _, err := keysets.Get(ctx, &keysetdpb.GetRequest{Keyset: name}); return err },
		"Plan":    func() error { _, err := keysets.Plan(ctx, &keysetdpb.PlanRequest{Keyset: name}); return err },
		"History": func() error { _, err := keysets.History(ctx, &keysetdpb.HistoryRequest{Keyset: name}); return err },
		"Rotate":  func() error { _, err := keysets.Rotate(ctx, &keysetdpb.RotateRequest{Keyset: name}); return err },
		"Revoke": func() error {
			_, err := keysets.Revoke(ctx, &keysetdpb.RevokeRequest{Keyset: name, All: true, Reason: "r"})
			return err
		},
		"Freeze": func() error {
			_, err := keysets.Freeze(ctx, &keysetdpb.FreezeRequest{Keyset: name, Until: timestamppb.New(time.Now().Add(time.Hour))})
			return err
		},
		"Thaw": func() error { _, err := keysets.Thaw(ctx, &keysetdpb.ThawRequest{Keyset: name}); return err },
	}
}
