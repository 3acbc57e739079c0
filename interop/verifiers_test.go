package interop

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	v1 "keysetd.example/api/v1"
)

var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

const issuer = "https://issuer.example"

// claims of an ID token for the client "api".
func claims(sub string) []byte {
	now := time.Now()
	return fmt.Appendf(nil, `{"iss":%q, "sub":%q, "aud":"api", "iat":%d, "exp":%d}`, issuer, sub, now.Unix(), now.Add(5*time.Minute).Unix())
}

// token is a JWT of the keyset.
func (d *daemon) token(keyset, alg string, claims []byte) string {
	d.t.Helper()
	reply, err := d.client.SignJWT(d.t.Context(), keyset, &v1.JWTRequest{Claims: claims, Alg: alg})
	if err != nil {
		d.t.Fatalf("%s: %v", alg, err)
	}
	return reply.Token
}

// signedElsewhere is a JWT whose header was composed here, as JOSE libraries do that let others sign.
func (d *daemon) signedElsewhere(keyset, alg string, claims []byte) string {
	d.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	header := fmt.Sprintf(`{"typ":"JWT","alg":%q,"kid":%q}`, alg, d.key(keyset, "active", alg).KeyID)
	input := b64([]byte(header)) + "." + b64(claims)
	reply, err := d.client.SignJWT(d.t.Context(), keyset, &v1.JWTRequest{SigningInput: input})
	if err != nil {
		d.t.Fatalf("%s: %v", alg, err)
	}
	return input + "." + reply.Signature
}

// TestEveryAlgorithm has three libraries verify tokens of each algorithm with what they make
// of the published JWKS.
func TestEveryAlgorithm(t *testing.T) {
	t.Parallel()
	d := newSite(t).begin(`
  default:
    purpose: jwt
    issuer: ` + issuer + `
    keys: [rsa-2048, p-256, p-384, p-521, ed25519]
    certificate: {issuer: self, subject: {organization: Example, country: CH}}
`)
	set := d.jwks("default")
	remote := oidc.NewRemoteKeySet(t.Context(), d.jwksURL("default"))
	for _, alg := range algorithms {
		for form, sign := range map[string]func(keyset, alg string, claims []byte) string{"claims": d.token, "signing input": d.signedElsewhere} {
			token := sign("default", alg, claims("alice"))
			for library, verify := range map[string]func(token, alg string) error{
				"go-jose":    func(token, alg string) error { return byGoJOSE(token, alg, set) },
				"golang-jwt": func(token, alg string) error { return byGolangJWT(token, alg, set) },
				"go-oidc": func(token, alg string) error {
					_, err := oidc.NewVerifier(issuer, remote, &oidc.Config{ClientID: "api", SupportedSigningAlgs: []string{alg}}).Verify(t.Context(), token)
					return err
				},
			} {
				if err := verify(token, alg); err != nil {
					t.Errorf("%s from %s: %s: %v\n%s", alg, form, library, err, token)
				}
				if verify(altered(token), alg) == nil {
					t.Errorf("%s from %s: %s takes a token that was altered", alg, form, library)
				}
			}
		}
	}
}

// altered is the token with another signature.
func altered(token string) string {
	b := []byte(token)
	if at := len(b) - 20; b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

func byGoJOSE(token, alg string, set jose.JSONWebKeySet) error {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		return err
	}
	_, err = jws.Verify(set) // finds the key by kid
	return err
}

func byGolangJWT(token, alg string, set jose.JSONWebKeySet) error {
	_, err := jwt.Parse(token, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if keys := set.Key(kid); len(keys) == 1 {
			return keys[0].Key, nil
		}
		return nil, fmt.Errorf("no key %q", kid)
	}, jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(issuer), jwt.WithAudience("api"), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	return err
}

// counter counts the pages that a verifier fetches.
type counter struct{ fetched atomic.Int64 }

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.fetched.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}

// TestRotation watches a verifier that fetches the page only when it meets a kid it has never
// seen. Since what signs was published before, it does not have to fetch when the key changes.
func TestRotation(t *testing.T) {
	t.Parallel()
	d := newSite(t).begin(`
  default:
    purpose: jwt
    issuer: ` + issuer + `
    keys: [p-256]
    rotation: {period: manual, lead: 2s, retain: 1h, clock_skew: 100ms}
    publish: {max_age: 1s}
    max_token_lifetime: 10m
`)
	pages := new(counter)
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: pages})
	verifier := oidc.NewVerifier(issuer, oidc.NewRemoteKeySet(ctx, d.jwksURL("default")), &oidc.Config{ClientID: "api", SupportedSigningAlgs: []string{"ES256"}})
	var tokens []string
	for _, step := range []struct {
		when    string
		fetched int64
	}{
		{"at first", 1},
		{"after the key changed", 1},  // it was on the page as pending
		{"after it changed again", 2}, // this one was made since
	} {
		if len(tokens) > 0 {
			d.rotate("default")
		}
		tokens = append(tokens, d.token("default", "ES256", claims("alice")))
		for i, token := range tokens {
			if _, err := verifier.Verify(ctx, token); err != nil {
				t.Errorf("%s, token %d: %v", step.when, i, err)
			}
		}
		if got := pages.fetched.Load(); got != step.fetched {
			t.Errorf("%s the page was fetched %d times, want %d", step.when, got, step.fetched)
		}
	}
	seen := map[string]bool{}
	for _, token := range tokens {
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		seen[jws.Signatures[0].Header.KeyID] = true
	}
	if len(seen) != len(tokens) {
		t.Errorf("%d tokens by %d keys", len(tokens), len(seen))
	}
}

// rotate has the pending generation sign, as soon as there is one and that is allowed.
func (d *daemon) rotate(keyset string) {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := d.client.Rotate(d.t.Context(), keyset, &v1.RotateRequest{Reason: "a test"})
		if err == nil {
			return
		}
		e, ok := errors.AsType[*v1.Error](err)
		if !ok || e.Reason != v1.NotYet || time.Now().After(deadline) {
			d.t.Fatal(err)
		}
		time.Sleep(max(50*time.Millisecond, time.Duration(e.RetryAfterMillis)*time.Millisecond))
	}
}
