package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"

	v1 "keysetd.example/api/v1"
)

// oauthServer is an OAuth 2.0 server with a token endpoint, made of ory/fosite. A client's
// id is the algorithm that it is registered for, and its keys are fetched from jwksURL.
func oauthServer(t *testing.T, jwksURL string, clients ...string) *httptest.Server {
	t.Helper()
	store := storage.NewMemoryStore()
	for _, id := range clients {
		store.Clients[id] = &fosite.DefaultOpenIDConnectClient{
			DefaultClient:                     &fosite.DefaultClient{ID: id, GrantTypes: []string{"client_credentials"}},
			JSONWebKeysURI:                    jwksURL,
			TokenEndpointAuthMethod:           "private_key_jwt",
			TokenEndpointAuthSigningAlgorithm: id,
		}
	}
	config := &fosite.Config{GlobalSecret: []byte(rand.Text() + rand.Text())}
	provider := compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config), compose.OAuth2ClientCredentialsGrantFactory)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := provider.NewAccessRequest(r.Context(), r, new(oauth2.JWTSession))
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		response, err := provider.NewAccessResponse(r.Context(), request)
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		provider.WriteAccessResponse(r.Context(), w, request, response)
	}))
	t.Cleanup(server.Close)
	config.TokenURL = server.URL
	return server
}

// authenticate asks for an access token by client credentials (RFC 6749 §4.4, RFC 7523 §2.2)
// and returns it, or the server's error.
func authenticate(t *testing.T, tokenURL string, assertion *v1.ClientAssertionReply) (token, refused string) {
	t.Helper()
	resp, err := http.PostForm(tokenURL, url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {assertion.ClientAssertionType},
		"client_assertion":      {assertion.ClientAssertion},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		t.Fatal(err)
	}
	t.Log(resp.Status, reply.Error, reply.Description)
	return reply.AccessToken, reply.Error
}

// assertion has the keyset make a client assertion, asking as a program in any language would.
func (d *daemon) assertion(keyset string, req v1.ClientAssertionRequest) *v1.ClientAssertionReply {
	d.t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		d.t.Fatal(err)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
	}}}
	resp, err := c.Post("http://localhost/v1/keysets/"+keyset+"/client-assertion", "application/json", bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		d.t.Fatalf("%s: %s %s %v", body, resp.Status, raw, err)
	}
	reply := new(v1.ClientAssertionReply)
	if err := json.Unmarshal(raw, reply); err != nil {
		d.t.Fatal(err)
	}
	return reply
}

// TestClientAssertion authenticates OAuth clients whose keys are in the token.
func TestClientAssertion(t *testing.T) {
	t.Parallel()
	clients := []string{"RS256", "PS256", "ES256", "ES384"}
	d := newSite(t).begin(`
  clients:
    purpose: jwt
    issuer: ` + issuer + `
    keys: [rsa-2048, p-256, p-384, ed25519]
  others:
    purpose: jwt
    issuer: ` + issuer + `
    keys: [p-256]
`)
	server := oauthServer(t, d.jwksURL("clients"), clients...)
	assert := func(keyset, id, audience string) *v1.ClientAssertionReply {
		return d.assertion(keyset, v1.ClientAssertionRequest{ClientID: id, Audience: audience, Alg: id, Lifetime: "30s"})
	}
	for _, id := range clients {
		t.Run(id, func(t *testing.T) {
			assertion := assert("clients", id, server.URL)
			if token, refused := authenticate(t, server.URL, assertion); token == "" {
				t.Fatalf("the assertion was not taken: %s", refused)
			}
			if token, refused := authenticate(t, server.URL, assertion); token != "" || refused != "jti_known" {
				t.Errorf("sent again, the assertion got token %q and error %q, want jti_known", token, refused)
			}
			if token, refused := authenticate(t, server.URL, assert("clients", id, server.URL)); token == "" {
				t.Errorf("a second assertion was not taken: %s", refused)
			}
		})
	}
	forged := assert("clients", "ES256", server.URL)
	forged.ClientAssertion = altered(forged.ClientAssertion)
	for name, assertion := range map[string]*v1.ClientAssertionReply{
		"for another server": assert("clients", "ES256", "https://other.example/token"),
		"of another keyset":  assert("others", "ES256", server.URL),
		"that was altered":   forged,
	} {
		if token, refused := authenticate(t, server.URL, assertion); token != "" || !strings.HasPrefix(refused, "invalid_") {
			t.Errorf("an assertion %s: token %q, error %q", name, token, refused)
		}
	}
}
