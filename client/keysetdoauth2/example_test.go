package keysetdoauth2_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"keysetd.example/client"
	"keysetd.example/client/keysetdoauth2"
	"keysetd.example/client/keysetdtest"
)

// authenticate is what a token endpoint does with an assertion: it verifies it with the client's JWKS.
func authenticate(assertion, jwksURL, audience string) (clientID string, err error) {
	resp, err := http.Get(jwksURL)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&keys); err != nil {
		return "", err
	}
	token, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", err
	}
	var claims jwt.Claims
	if err := token.Claims(&keys, &claims); err != nil {
		return "", err
	}
	return claims.Subject, claims.Validate(jwt.Expected{Issuer: claims.Subject, AnyAudience: jwt.Audience{audience}})
}

// A client without a secret gets an access token.
func ExampleConfig_TokenSource() {
	ctx := context.Background()
	d, err := keysetdtest.Launch(ctx, keysetdtest.WithKeyset("default", "{purpose: jwt, any_issuer: true, keys: [p-256]}"))
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		id, err := authenticate(r.PostFormValue("client_assertion"), d.JWKSURL("default"), server.URL)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": err.Error()})
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"access_token": "for " + id, "token_type": "Bearer", "expires_in": 60})
	}))
	defer server.Close()

	c, err := client.Dial(d.Socket)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	config := keysetdoauth2.Config{Client: c, Keyset: "default", ClientID: "batch", TokenURL: server.URL}
	token, err := config.TokenSource(ctx).Token()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.AccessToken)
	// Output: for batch
}
