package keysetdoauth2_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/client/keysetdoauth2"
	"keysetd.example/internal/keyspec"
)

// endpoint is a token endpoint that takes one client.
type endpoint struct {
	*httptest.Server
	h         *clienttest.House
	expiresIn int

	mu       sync.Mutex
	jtis     []string
	requests []url.Values
	faults   []error
}

func startEndpoint(t *testing.T, h *clienttest.House, expiresIn int) *endpoint {
	t.Helper()
	e := &endpoint{h: h, expiresIn: expiresIn}
	e.Server = httptest.NewServer(http.HandlerFunc(e.token))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) token(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := e.judge(r); err != nil {
		e.faults = append(e.faults, err)
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client"})
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("token-", len(e.jtis)), "token_type": "Bearer", "expires_in": e.expiresIn})
}

// judge is what RFC 7523 §3 asks of a server, and RFC 6749 §4.4.2.
func (e *endpoint) judge(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	e.requests = append(e.requests, r.PostForm)
	if _, _, basic := r.BasicAuth(); basic || r.PostForm.Has("client_secret") {
		return errors.New("there is a secret")
	}
	if r.PostForm.Get("grant_type") != "client_credentials" || r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return fmt.Errorf("parameters %v", r.PostForm)
	}
	var claims jwt.RegisteredClaims
	token, err := jwt.ParseWithClaims(r.PostForm.Get("client_assertion"), &claims, func(token *jwt.Token) (any, error) {
		return e.h.Keys[keyspec.P256].Public, nil
	}, jwt.WithIssuer("batch"), jwt.WithSubject("batch"), jwt.WithExpirationRequired())
	if err != nil {
		return err
	}
	if token.Header["alg"] != "ES256" || slices.Contains(e.jtis, claims.ID) || claims.ID == "" {
		return fmt.Errorf("alg %v, jti %s", token.Header["alg"], claims.ID)
	}
	e.jtis = append(e.jtis, claims.ID)
	e.requests[len(e.requests)-1]["aud"] = claims.Audience
	return nil
}

// TestTokenSource: one token until it expires, and a fresh assertion for the next; a rotation between
// them changes nothing.
func TestTokenSource(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	long := startEndpoint(t, h, 3600)
	config := keysetdoauth2.Config{
		Client: c, Keyset: "default", ClientID: "batch", TokenURL: long.URL, Scopes: []string{"read", "write"},
		Lifetime: 30 * time.Second, Parameters: url.Values{"resource": {"https://api.example"}},
	}
	source := config.TokenSource(t.Context())
	for range 3 {
		if token, err := source.Token(); err != nil || token.AccessToken != "token-1" || token.TokenType != "Bearer" {
			t.Fatalf("%+v, %v; %v", token, err, long.faults)
		}
	}
	first := long.requests[0]
	if len(long.requests) != 1 || first.Get("scope") != "read write" || first.Get("resource") != "https://api.example" || first.Get("aud") != long.URL || first.Get("client_id") != "batch" {
		t.Errorf("%v", long.requests)
	}

	short := startEndpoint(t, h, 1) // which is expired before it is used
	config.TokenURL, config.Audience = short.URL, "https://issuer.example"
	source = config.TokenSource(t.Context())
	for i := range 5 {
		if token, err := source.Token(); err != nil || token.AccessToken != fmt.Sprint("token-", i+1) {
			t.Fatalf("%+v, %v; %v", token, err, short.faults)
		}
		h.Rotate(t, fmt.Sprint("rsa-", i))
	}
	if short.requests[0].Get("aud") != "https://issuer.example" {
		t.Errorf("%v", short.requests[0])
	}
}

func TestRefused(t *testing.T) {
	h := clienttest.Start(t)
	server := startEndpoint(t, h, 3600)
	good := keysetdoauth2.Config{Client: h.Dial(t), Keyset: "default", ClientID: "batch", TokenURL: server.URL}

	other := good
	other.ClientID = "another"
	_, err := other.TokenSource(t.Context()).Token()
	if told, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || told.ErrorCode != "invalid_client" || len(server.requests) != 1 {
		t.Errorf("%v after %d requests", err, len(server.requests))
	}
	tooLong := good
	tooLong.Lifetime = time.Hour
	if _, err := tooLong.TokenSource(t.Context()).Token(); !errors.Is(err, client.ErrLifetimeTooLong) {
		t.Errorf("%v", err)
	}
	for _, config := range []keysetdoauth2.Config{{}, {Client: good.Client, ClientID: "batch", TokenURL: server.URL}} {
		if _, err := config.TokenSource(t.Context()).Token(); err == nil {
			t.Errorf("%+v", config)
		}
	}
	if len(server.requests) != 1 {
		t.Errorf("%d requests", len(server.requests))
	}
}

type counting struct{ n int }

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n++
	return http.DefaultTransport.RoundTrip(r)
}

// TestHTTPClient: the Config's, or the context's.
func TestHTTPClient(t *testing.T) {
	h := clienttest.Start(t)
	server := startEndpoint(t, h, 3600)
	var own, contexts counting
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: &contexts})
	config := keysetdoauth2.Config{Client: h.Dial(t), Keyset: "default", ClientID: "batch", TokenURL: server.URL}
	if _, err := config.TokenSource(ctx).Token(); err != nil || contexts.n != 1 {
		t.Errorf("%d, %v", contexts.n, err)
	}
	config.HTTPClient = &http.Client{Transport: &own}
	if _, err := config.TokenSource(ctx).Token(); err != nil || own.n != 1 || contexts.n != 1 {
		t.Errorf("%d and %d, %v", own.n, contexts.n, err)
	}
}
