package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// relyingParty is a client of a provider, which knows nothing of it but its issuer.
type relyingParty struct {
	*oidc.Provider
	ctx     context.Context
	fetched map[string]int // by path, through its own HTTP client
}

// transport counts what it fetches.
type transport map[string]int

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t[r.URL.Path]++
	return http.DefaultTransport.RoundTrip(r)
}

// relyOn finds the provider as go-oidc does: by its issuer alone.
func relyOn(t *testing.T, issuer string) relyingParty {
	t.Helper()
	fetched := transport{}
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: fetched})
	p, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		t.Fatalf("finding the provider of %s: %v", issuer, err)
	}
	return relyingParty{p, ctx, fetched}
}

// TestRelyingParty: go-oidc finds the provider by its issuer, which is the address that the keyset is served below, and
// verifies ID tokens across three rotations, those of before as well, with the same provider.
func TestRelyingParty(t *testing.T) {
	t.Parallel()
	const (
		lead   = 1500 * time.Millisecond // by hand, and at once
		rounds = 3
	)
	// The issuer stands in the configuration, so the port must be known before the daemon runs.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	for name, below := range map[string]string{"default": "", "other": "/keysets/other"} {
		t.Run(name, func(t *testing.T) {
			issuer := "http://" + address + below
			s := newSite(t)
			s.configure(fmt.Sprintf(`
  %s:
    purpose: jwt
    issuer: %s
    keys: [rsa-2048, p-256]
    rotation: {period: manual, lead: %v, retain: 1h, clock_skew: 100ms}
    publish: {max_age: 1s}
    certificate: {issuer: self, subject: {organization: Example, country: CH}}
    discovery:
      authorization_endpoint: https://provider.example/authorize
      token_endpoint: https://provider.example/token
      userinfo_endpoint: https://provider.example/userinfo
      scopes_supported: [openid]
`, name, issuer, lead))
			text, err := os.ReadFile(s.path("keysetd.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			s.write("keysetd.yaml", strings.Replace("public_url: http://"+address+"\n"+string(text), "public: 127.0.0.1:0", "public: "+address, 1))
			s.tool(keysetd, "init", "-c", s.path("keysetd.yaml"))
			d := s.serve()
			defer d.stop() // the next one needs its port

			rp := relyOn(t, issuer)
			required(t, rp, issuer, "http://"+address+"/keysets/"+name+"/jwks.json")
			if e := rp.Endpoint(); e.AuthURL != "https://provider.example/authorize" || e.TokenURL != "https://provider.example/token" || rp.UserInfoEndpoint() != "https://provider.example/userinfo" {
				t.Errorf("its endpoints are %+v", e)
			}
			verifier := rp.VerifierContext(rp.ctx, &oidc.Config{ClientID: "api"}) // the algorithms are those of the document
			var tokens []string
			kids := map[string]bool{}
			for round := range rounds + 1 {
				for _, alg := range []string{"RS256", "ES256", "PS512"} {
					tokens = append(tokens, idToken(d, name, alg, issuer))
				}
				kids[d.key(name, "active", "RS256").KeyID] = true
				for _, token := range tokens { // retained keys are on the page
					if id, err := verifier.Verify(rp.ctx, token); err != nil || id.Issuer != issuer || id.Subject != "alice" {
						t.Errorf("after %d rotations: %v %+v", round, err, id)
					}
				}
				if round < rounds {
					d.rotate(name)
				}
			}
			if len(kids) != rounds+1 || rp.fetched["/keysets/"+name+"/jwks.json"] < 2 {
				t.Errorf("%d keys signed, and it fetched %v", len(kids), rp.fetched)
			}
			if _, err := verifier.Verify(rp.ctx, tokens[0][:len(tokens[0])-8]+"AAAAAAAA"); err == nil {
				t.Error("a token whose signature was changed is good")
			}
			if _, err := oidc.NewProvider(t.Context(), issuer+"/"); err == nil || !strings.Contains(err.Error(), "issuer") {
				t.Errorf("by another issuer: %v", err)
			}
		})
	}
}

// idToken is an ID token for the client "api".
func idToken(d *daemon, keyset, alg, issuer string) string {
	now := time.Now()
	return d.token(keyset, alg, fmt.Appendf(nil, `{"iss":%q,"sub":"alice","aud":"api","iat":%d,"exp":%d}`, issuer, now.Unix(), now.Add(5*time.Minute).Unix()))
}

// required are the members that OpenID Connect Discovery 1.0 §3 requires, in the document that go-oidc has read.
func required(t *testing.T, rp relyingParty, issuer, jwks string) {
	t.Helper()
	var doc map[string]any
	if err := rp.Claims(&doc); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"issuer": issuer, "jwks_uri": jwks} {
		if doc[name] != want {
			t.Errorf("%s is %v, want %s", name, doc[name], want)
		}
	}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"} {
		if doc[name] == nil {
			t.Errorf("%s is missing: %v", name, doc)
		}
	}
	if algs, _ := doc["id_token_signing_alg_values_supported"].([]any); !slices.Contains(algs, "RS256") || !slices.Contains(algs, "ES256") {
		t.Errorf("the algorithms are %v", algs)
	}
	resp, err := http.Get(strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !json.Valid(body) || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the document: %s %v\n%s", resp.Status, err, body)
	}
}
