// Package keysetdoauth2 gets access tokens with client credentials (RFC 6749 §4.4), where the client
// authenticates with an assertion that keysetd signs (private_key_jwt: RFC 7523 §2.2, OpenID Connect
// Core §9) and there is no shared secret.
//
//	c, err := client.Dial("")
//	config := keysetdoauth2.Config{Client: c, Keyset: "default", ClientID: "batch", TokenURL: "https://issuer.example/token"}
//	api := oauth2.NewClient(ctx, config.TokenSource(ctx))
//	resp, err := api.Get("https://api.example/orders")
package keysetdoauth2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// Config says who asks which server for what. Client, Keyset, ClientID and TokenURL are required.
type Config struct {
	Client *client.Client
	// Keyset that signs the assertions; of purpose jwt or any.
	Keyset string
	// ClientID is what the authorization server knows the client by.
	ClientID string
	// TokenURL is the server's token endpoint.
	TokenURL string
	// Audience of the assertions: the server's issuer, where it wants that. Left out: TokenURL.
	Audience string
	// Scopes that are asked for. Left out: the server decides.
	Scopes []string
	// Alg of the assertions. Left out: the keyset's default.
	Alg string
	// Lifetime of an assertion, in whole seconds. Left out: the keyset's, a minute.
	Lifetime time.Duration
	// Parameters are further ones of the token request, such as resource (RFC 8707).
	Parameters url.Values
	// HTTPClient asks the token endpoint. Left out: the context's (oauth2.HTTPClient), or http.DefaultClient.
	HTTPClient *http.Client
}

// TokenSource returns access tokens. One is used until shortly before it expires; for each new one
// a new assertion is signed. ctx bounds the source's requests for as long as it is used. Many
// goroutines may use it. What the server refuses with is an *oauth2.RetrieveError, and what the
// daemon does is client's.
func (c Config) TokenSource(ctx context.Context) oauth2.TokenSource {
	return oauth2.ReuseTokenSource(nil, &source{ctx, c})
}

type source struct {
	ctx    context.Context
	config Config
}

// Token asks for a new one.
func (s *source) Token() (*oauth2.Token, error) {
	if err := s.config.check(); err != nil {
		return nil, err
	}
	assertion, err := s.config.assertion(s.ctx)
	if err != nil {
		return nil, fmt.Errorf("signing a client assertion for %s: %w", s.config.ClientID, err)
	}
	parameters := url.Values{}
	for name, values := range s.config.Parameters {
		parameters[name] = values
	}
	parameters.Set("client_assertion_type", assertion.ClientAssertionType)
	parameters.Set("client_assertion", assertion.ClientAssertion)
	request := clientcredentials.Config{
		ClientID: s.config.ClientID, TokenURL: s.config.TokenURL, Scopes: s.config.Scopes,
		EndpointParams: parameters,
		// Where it may find out by itself how to authenticate it sends the assertion twice, and its jti
		// is good for once.
		AuthStyle: oauth2.AuthStyleInParams,
	}
	ctx := s.ctx
	if s.config.HTTPClient != nil {
		ctx = context.WithValue(ctx, oauth2.HTTPClient, s.config.HTTPClient)
	}
	return request.Token(ctx)
}

func (c Config) check() error {
	switch {
	case c.Client == nil:
		return errors.New("the Config has no Client to sign assertions with; client.Dial makes one")
	case c.Keyset == "" || c.ClientID == "" || c.TokenURL == "":
		return fmt.Errorf("the Config needs Keyset, ClientID and TokenURL; they are %q, %q and %q", c.Keyset, c.ClientID, c.TokenURL)
	}
	return nil
}

func (c Config) assertion(ctx context.Context) (*v1.ClientAssertionReply, error) {
	req := v1.ClientAssertionRequest{ClientID: c.ClientID, Audience: cmp.Or(c.Audience, c.TokenURL), Alg: c.Alg}
	if c.Lifetime != 0 {
		req.Lifetime = c.Lifetime.String()
	}
	return c.Client.SignClientAssertion(ctx, c.Keyset, &req)
}
