package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/door"
	"keysetd.example/signing/signingtest"
)

// serve starts a daemon's door and names it in the environment.
func serve(t *testing.T) (*signingtest.World, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ksctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	w := signingtest.New(t, signingtest.All(uint32(os.Getuid())))
	l, err := door.Listen(socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	server := door.New(door.Config{Service: w.Service, Metrics: door.NewMetrics(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		serving.Wait()
	})
	t.Setenv(client.SocketVariable, socket)
	return w, socket
}

func ctl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	if errs.Len() > 0 {
		t.Errorf("keysetctl %v wrote to standard error itself: %s", args, errs.String())
	}
	return out.String(), err
}

func mustCtl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := ctl(t, stdin, args...)
	if err != nil {
		t.Fatalf("keysetctl %v: %v", args, err)
	}
	return out
}

func claims() string { return fmt.Sprintf(`{"exp": %d}`, time.Now().Add(time.Minute).Unix()) }

func TestStatus(t *testing.T) {
	w, _ := serve(t)
	table := mustCtl(t, "", "status")
	for _, want := range []string{
		"TOKEN ", "main   up     keysetd", "KEYSET ", "UNTIL", w.KIDs[keyspec.P521], "1h0m ago (20", "in 59m", "Z)",
		"keyset empty: not ready to sign",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	if one := mustCtl(t, "", "status", "raw"); strings.Contains(one, "default") || !strings.Contains(one, "ed25519") {
		t.Errorf("one keyset:\n%s", one)
	}
	var list v1.KeysetList
	if err := json.Unmarshal([]byte(mustCtl(t, "", "status", "--json")), &list); err != nil || len(list.Keysets) != 5 {
		t.Errorf("JSON: %+v, %v", list, err)
	}
	var one v1.Keyset
	if err := json.Unmarshal([]byte(mustCtl(t, "", "status", "default", "--json")), &one); err != nil || one.Name != "default" {
		t.Errorf("JSON: %+v, %v", one, err)
	}
}

func TestStatusTellsProblems(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	err := printStatus(&out, &v1.KeysetList{
		Tokens:  []v1.Token{{Name: "main", Problem: "the worker ended; a new one starts in 2s", Since: now.Add(-90 * time.Second)}},
		Keysets: []v1.Keyset{{Name: "saml", Ready: true, Problem: "the certificate ends in 3 days"}, {Name: "id", Purpose: "enc"}},
	}, now)
	want := `TOKEN  STATE  LABEL  SERIAL  MODEL  SINCE
main   down   -      -       -      1m30s ago (2026-11-21T19:58:30Z)

KEYSET  GENERATION  STATE  SPEC  KID  SINCE  UNTIL
saml    -           none   -     -    -      -
id      -           none   -     -    -      -

token main: the worker ended; a new one starts in 2s
keyset saml: the certificate ends in 3 days
keyset id: not ready to decrypt
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	for offset, want := range map[time.Duration]string{
		0: "now", 999 * time.Millisecond: "now", 59 * time.Second: "in 59s", -61 * time.Second: "1m1s ago",
		12 * time.Hour: "in 12h0m", -49 * time.Hour: "2d1h ago",
	} {
		if got := moment(now.Add(offset), now); !strings.HasPrefix(got, want+" (2026-11-") {
			t.Errorf("%v: %s, want %s", offset, got, want)
		}
	}
	if moment(time.Time{}, now) != "-" {
		t.Error("no time")
	}
}

func TestSign(t *testing.T) {
	w, socket := serve(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "claims.json")
	if err := os.WriteFile(file, []byte(claims()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"flag":   mustCtl(t, "", "sign", "default", "--claims", claims()),
		"stdin":  mustCtl(t, claims(), "sign", "default", "--typ", "at+jwt"),
		"dash":   mustCtl(t, claims(), "sign", "default", "--claims-file", "-", "--kid", w.KIDs[keyspec.P256]),
		"file":   mustCtl(t, "", "sign", "default", "--claims-file", file, "--alg", "ES256"),
		"socket": mustCtl(t, "", "sign", "default", "--claims", claims(), "--socket", socket),
	} {
		sig, err := jose.ParseSignedCompact(strings.TrimSuffix(token, "\n"), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := sig.Verify(w.Keys[keyspec.P256].Public); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	token := strings.TrimSpace(mustCtl(t, claims(), "sign", "default"))
	if sig := mustCtl(t, "", "sign", "default", "--signing-input", token[:strings.LastIndex(token, ".")]); len(sig) != 87 {
		t.Errorf("the signature of a signing input is %q", sig)
	}
	var reply v1.SignReply
	out := mustCtl(t, "payload", "sign", "raw", "--alg", "ES256", "--payload-file", "-", "--encoding", "der", "--json")
	if err := json.Unmarshal([]byte(out), &reply); err != nil || reply.Alg != "ES256" || !strings.HasPrefix(reply.Signature, "ME") {
		t.Errorf("%s: %v", out, err)
	}
	if sig := mustCtl(t, "", "sign", "raw", "--alg", "RS256", "--digest", strings.Repeat("A", 43)); len(sig) != 343 {
		t.Errorf("the signature of a digest is %q", sig)
	}
}

func TestErrors(t *testing.T) {
	serve(t)
	for line, test := range map[string]struct {
		code int
		want string
	}{
		"frobnicate":                          {2, `keysetctl: unknown command "frobnicate"`},
		"status a b":                          {2, "keysetctl: 2 arguments do not fit"},
		"status --frob":                       {2, "keysetctl: unknown flag: --frob"},
		"sign":                                {2, "keysetctl: 0 arguments do not fit"},
		"sign default --claims {} --digest x": {2, "--claims and --digest exclude each other"},
		"sign default --claims {} --encoding der":         {2, "--encoding is for"},
		"sign default --digest x --typ JWT":               {2, "--typ is for claims"},
		"sign default":                                    {2, "there are no claims"},
		"jwks default --url localhost":                    {2, "is no http or https address"},
		"rotate":                                          {2, "keysetctl: 0 arguments do not fit"},
		"freeze default":                                  {2, "--until is missing"},
		"freeze default --until yesterday":                {2, "is neither a time"},
		"history default --limit 0":                       {2, "--limit 0 is less than 1"},
		"history default --limit 1001":                    {1, "bad_request"},
		"reload default":                                  {2, "keysetctl: 1 arguments do not fit"},
		"clock set":                                       {2, "keysetctl: 1 arguments do not fit"},
		"rotate nope":                                     {1, "reading the state of keyset nope: keyset_unknown"},
		"revoke k --reason r":                             {1, "no keyset that you may read has a key k; see `keysetctl status`"},
		"status nope":                                     {1, "keysetctl: reading the state of keyset nope: keyset_unknown: "},
		"sign default --claims {}":                        {1, "bad_claims: the claims have no exp; give it as whole seconds since 1970 (RFC 7519 §4.1.4) (at /claims/exp)"},
		"sign default --claims {":                         {1, "bad_claims"},
		"sign default --claims-file /nowhere/claims":      {1, "/nowhere/claims: no such file"},
		"sign raw --alg ES256 --payload-file /dev/zero":   {1, "/dev/zero is longer than"},
		"status --socket /nowhere/sock":                   {1, "/nowhere/sock"},
		"jwks default --url http://127.0.0.1:1":           {1, "is keysetd running"},
		"jwks default --timeout 1ns --url http://x.test/": {1, "no answer within 1ns"},
	} {
		_, err := ctl(t, "", strings.Fields(line)...)
		if err == nil {
			t.Errorf("%s: no error", line)
			continue
		}
		if got := oneLine(err); exitCode(err) != test.code || !strings.Contains(got, test.want) || strings.Contains(got, "\n") || !strings.HasPrefix(got, "keysetctl: ") {
			t.Errorf("%s: exit %d, %q", line, exitCode(err), got)
		}
	}
	if out := mustCtl(t, ""); !strings.Contains(out, "status") || !strings.Contains(out, "jwks") {
		t.Errorf("without arguments: %s", out)
	}
}

func TestJWKS(t *testing.T) {
	const body = `{"keys":[{"kty":"EC","kid":"\u0061"}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/base/keysets/a b/jwks.json":
			fmt.Fprint(w, body)
		case "/base/keysets/odd/jwks.json":
			fmt.Fprint(w, "<html>")
		case "/base/keysets/down/jwks.json":
			w.WriteHeader(http.StatusBadGateway)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	address := server.URL + "/base/"
	if got := mustCtl(t, "", "jwks", "a b", "--json", "--url", address); got != body {
		t.Errorf("as served: %s", got)
	}
	if got := mustCtl(t, "", "jwks", "a b", "--url", address); !strings.Contains(got, "\n  \"keys\": [\n") || !json.Valid([]byte(got)) {
		t.Errorf("indented: %s", got)
	}
	for keyset, want := range map[string]string{"nope": "no keyset nope is published", "odd": "is not JSON", "down": "502 Bad Gateway"} {
		if _, err := ctl(t, "", "jwks", keyset, "--url", address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", keyset, err)
		}
	}
}
