package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"keysetd.example/api/v1/keysetdpb"
	"keysetd.example/client"

	v1 "keysetd.example/api/v1"
)

// limited is a site whose only caller that signs is held to what its grant says.
func limited(t *testing.T, grant string) (*site, *daemon) {
	t.Helper()
	s := newSite(t)
	s.configure(`  default: {purpose: jwt, issuer: "https://issuer.test", keys: [p-256], types: [JWT, at+jwt], header: {allow: [cty]}, client_assertion: {typ: client-authentication+jwt}}`)
	all := fmt.Sprintf("  test: {uid: %d, keysets: [\"*\"], operations: [\"*\"], algorithms: [\"*\"], client_ids: [\"*\"]}\n", os.Getuid())
	config, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(config), all) {
		t.Fatalf("the harness's caller is another one than\n%s", all)
	}
	s.write("keysetd.yaml", strings.Replace(string(config), all, fmt.Sprintf(`
  service: {uid: %d, keysets: [default], operations: [jwt, client-assertion], algorithms: [ES256], %s}
  operator: {uid: %d, keysets: ["*"], operations: [read, admin]}
`, os.Getuid(), grant, os.Getuid()), 1))
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	return s, s.serve()
}

func (d *daemon) claims(more string) string {
	return fmt.Sprintf(`{"iss":"https://issuer.test","exp":%d%s}`, time.Now().Add(time.Minute).Unix(), more)
}

// TestRights: what a grant limits is limited, in both languages of the door.
func TestRights(t *testing.T) {
	t.Parallel()
	s, d := limited(t, `types: [at+jwt, client-authentication+jwt], client_ids: [billing], audiences: [api, "https://as.test"], claims: 'claims.exp - now <= 120 && !has(claims.admin)'`)
	signer := keysetdpb.NewSignerClient(overGRPC(t, d.Socket))
	for _, tt := range []struct {
		name, claims, typ, reason string
	}{
		{"as granted", `,"aud":"api"`, "at+jwt", ""},
		{"another typ", `,"aud":"api"`, "JWT", "not_granted"},
		{"another audience", `,"aud":["api","other"]`, "at+jwt", "not_granted"},
		{"no audience", ``, "at+jwt", "not_granted"},
		{"the expression", `,"aud":"api","admin":true`, "at+jwt", "not_granted"},
		{"a typ that the keyset does not have", `,"aud":"api"`, "oauth-authz-req+jwt", "bad_header"},
	} {
		claims := d.claims(tt.claims)
		code, reply := d.call("POST", "/v1/keysets/default/jwt", fmt.Sprintf(`{"claims":%s,"header":{"typ":%q}}`, claims, tt.typ))
		if got, _ := reply["reason"].(string); got != tt.reason || (code == 200) != (tt.reason == "") {
			t.Errorf("%s, HTTP: %d %v", tt.name, code, reply)
		}
		out, err := signer.SignJWT(t.Context(), &keysetdpb.SignJWTRequest{
			Keyset: "default", Input: &keysetdpb.SignJWTRequest_Claims{Claims: []byte(claims)}, Header: fmt.Appendf(nil, `{"typ":%q}`, tt.typ),
		})
		if got := reasonOf(err); got != tt.reason {
			t.Errorf("%s, gRPC: %v, %v", tt.name, out, err)
		}
		if err == nil {
			set := d.jwks("default")
			if jws, err := jose.ParseSignedCompact(out.Token, []jose.SignatureAlgorithm{jose.ES256}); err != nil {
				t.Error(err)
			} else if payload, err := jws.Verify(set.Key(out.Kid)[0]); err != nil || string(payload) != claims {
				t.Errorf("%s, %v", payload, err)
			}
		}
	}
	c, err := client.Dial(d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SignClientAssertion(t.Context(), "default", &v1.ClientAssertionRequest{ClientID: "payroll", Audience: "https://as.test"}); reasonIn(err) != v1.NotGranted {
		t.Errorf("an assertion for another client: %v", err)
	}
	contains(t, "whoami", d.ctl("whoami"), fmt.Sprintf("uid %d", os.Getuid()), "service", "client_ids billing", "audiences api https://as.test", "claims.exp - now")
	test := []string{"policy", "test", "--uid", fmt.Sprint(os.Getuid()), "--operation", "jwt", "--keyset", "default", "--alg", "ES256", "--typ", "at+jwt", "--claims"}
	contains(t, "policy test", d.ctl(append(test, d.claims(`,"aud":"api"`))...), "granted by caller service")
	if _, stderr, err := d.tryCtl(append(test, d.claims(`,"aud":"other"`))...); err == nil || !strings.Contains(stderr, "not granted") {
		t.Errorf("policy test of what is not granted: %v, %s", err, stderr)
	}
	s.audited("jwt", "refused", "")
}

// TestBatchAndRate: each item of a batch has a result of its own, and counts against the rate.
func TestBatchAndRate(t *testing.T) {
	t.Parallel()
	_, d := limited(t, `client_ids: "*", rate: 0.01, burst: 3`)
	c, err := client.Dial(d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	jwt := &v1.JWTRequest{Claims: []byte(d.claims(""))}
	reply, err := c.Batch(t.Context(), "default", &v1.BatchRequest{Items: []v1.BatchItem{
		{JWT: jwt}, {ClientAssertion: &v1.ClientAssertionRequest{ClientID: "billing", Audience: "https://as.test"}}, {}, {JWT: jwt}, {JWT: jwt}, {JWT: jwt},
	}})
	if err != nil || len(reply.Items) != 6 {
		t.Fatalf("%+v, %v", reply, err)
	}
	var done, limited int
	for i, item := range reply.Items {
		switch {
		case item.JWT != nil && item.JWT.Token != "", item.ClientAssertion != nil && item.ClientAssertion.ClientAssertion != "":
			done++
		case item.Error != nil && item.Error.Reason == v1.RateLimited && item.Error.RetryAfterMillis > 0:
			limited++
		case i == 2 && item.Error != nil && item.Error.Reason == v1.BadRequest:
		default:
			t.Errorf("item %d: %+v", i+1, item)
		}
	}
	if done != 3 || limited != 2 {
		t.Errorf("%d were done and %d were too many", done, limited)
	}
}

// TestCurl: the README's way by curl, and that gRPC tells what it has.
func TestCurl(t *testing.T) {
	t.Parallel()
	_, d := limited(t, `client_ids: "*"`)
	out, err := exec.Command("curl", "-sS", "--unix-socket", d.Socket, "http://localhost/v1/keysets/default/client-assertion",
		"-H", "Content-Type: application/json", "-d", `{"client_id":"billing","audience":"https://as.test","lifetime":"30s"}`).Output()
	var reply v1.ClientAssertionReply
	if err != nil || json.Unmarshal(out, &reply) != nil || reply.ClientAssertion == "" || time.Until(reply.ExpiresAt) > 31*time.Second {
		t.Errorf("%s, %v", out, err)
	}
}

// overGRPC is a connection to the socket in the other language of the door.
func overGRPC(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///keysetd", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// reasonOf is the reason word of a gRPC error, "" of none.
func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func reasonIn(err error) v1.Reason {
	for _, reason := range v1.Reasons() {
		if e, ok := err.(interface{ Is(error) bool }); ok && e.Is(&v1.Error{Reason: reason}) {
			return reason
		}
	}
	return ""
}
