package signing_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

func assertionRequest(alg string) *v1.ClientAssertionRequest {
	return &v1.ClientAssertionRequest{ClientID: "client-1", Audience: "https://as.example/token", Alg: alg}
}

// segments decodes header and claims of a token.
func segments(t *testing.T, token string) (header, claims string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q has %d segments", token, len(parts))
	}
	h, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(h), string(c)
}

func TestClientAssertionWithEveryAlgorithm(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	start := time.Now()
	seen := map[string]bool{}
	for _, keyset := range []string{"default", "any"} {
		for _, alg := range jwa.All() {
			reply, err := w.Service.SignClientAssertion(t.Context(), caller, keyset, assertionRequest(string(alg)))
			if err != nil {
				t.Fatal(err)
			}
			pub := w.Keys[specFor(t, alg)].Public
			verify(t, reply.ClientAssertion, alg, pub)
			var claims jwt.RegisteredClaims
			_, err = jwt.ParseWithClaims(reply.ClientAssertion, &claims, func(*jwt.Token) (any, error) { return pub, nil },
				jwt.WithIssuer("client-1"), jwt.WithSubject("client-1"), jwt.WithAudience("https://as.example/token"), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			id, err := base64.RawURLEncoding.DecodeString(claims.ID)
			if err != nil || len(id) != 16 || seen[claims.ID] {
				t.Errorf("jti %q, %v; seen %v", claims.ID, err, seen[claims.ID])
			}
			seen[claims.ID] = true
			if life := claims.ExpiresAt.Sub(claims.IssuedAt.Time); life != time.Minute || claims.NotBefore != nil || claims.IssuedAt.Before(start.Truncate(time.Second)) {
				t.Errorf("lives %v from %v, nbf %v", life, claims.IssuedAt, claims.NotBefore)
			}
			if !reply.ExpiresAt.Equal(claims.ExpiresAt.Time) || reply.ClientAssertionType != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || reply.Alg != string(alg) {
				t.Errorf("reply %+v", reply)
			}
			record := w.Audit.Last()
			if record.Operation != "client-assertion" || record.Outcome != "granted" || record.JTI != claims.ID || record.Exp != claims.ExpiresAt.Unix() || record.KID != reply.KID || len(record.Digest) != 32 {
				t.Errorf("audited as %+v", record)
			}
		}
	}
}

func TestClientAssertionBySettings(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	now := time.Unix(1_800_000_000, 900_000_000)
	w.Service.Now = func() time.Time { return now }
	for name, test := range map[string]struct {
		settings      signing.AssertionSettings
		header        signing.HeaderSettings
		lifetime      string
		typ, aud, exp string
	}{
		"zero":             {typ: "JWT", aud: `"https://as.example/\"é"`, exp: "1800000060"},
		"array":            {settings: signing.AssertionSettings{AudienceArray: true}, typ: "JWT", aud: `["https://as.example/\"é"]`, exp: "1800000060"},
		"typ":              {settings: signing.AssertionSettings{Typ: "client-authentication+jwt"}, typ: "client-authentication+jwt", aud: `"https://as.example/\"é"`, exp: "1800000060"},
		"types":            {header: signing.HeaderSettings{Types: []string{"at+jwt"}}, typ: "JWT", aud: `"https://as.example/\"é"`, exp: "1800000060"},
		"one second":       {lifetime: "1s", typ: "JWT", aud: `"https://as.example/\"é"`, exp: "1800000001"},
		"five minutes":     {lifetime: "5m", typ: "JWT", aud: `"https://as.example/\"é"`, exp: "1800000300"},
		"an hour":          {settings: signing.AssertionSettings{MaxLifetime: time.Hour}, lifetime: "1h", typ: "JWT", aud: `"https://as.example/\"é"`, exp: "1800003600"},
		"default, at most": {settings: signing.AssertionSettings{MaxLifetime: 10500 * time.Millisecond}, typ: "JWT", aud: `"https://as.example/\"é"`, exp: "1800000010"},
	} {
		ks := w.Keysets()[0]
		ks.Assertion, ks.Header = test.settings, test.header
		w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, signingtest.All(uid)))
		reply, err := w.Service.SignClientAssertion(t.Context(), caller, "default", &v1.ClientAssertionRequest{
			ClientID: `c "1"`, Audience: `https://as.example/"é`, Lifetime: test.lifetime,
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		header, claims := segments(t, reply.ClientAssertion)
		if want := fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"%s"}`, w.KIDs[keyspec.P256], test.typ); header != want {
			t.Errorf("%s: header %s, want %s", name, header, want)
		}
		body, jti, _ := strings.Cut(claims, `,"jti":`)
		if want := `{"iss":"c \"1\"","sub":"c \"1\"","aud":` + test.aud + `,"exp":` + test.exp + `,"iat":1800000000`; body != want || len(jti) != len(`"0123456789012345678901"}`) {
			t.Errorf("%s: claims %s, want %s", name, claims, want)
		}
	}
}

func TestClientAssertionRefused(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	type change func(*v1.ClientAssertionRequest)
	id := func(s string) change { return func(r *v1.ClientAssertionRequest) { r.ClientID = s } }
	aud := func(s string) change { return func(r *v1.ClientAssertionRequest) { r.Audience = s } }
	life := func(s string) change { return func(r *v1.ClientAssertionRequest) { r.Lifetime = s } }
	none := change(func(*v1.ClientAssertionRequest) {})
	for name, test := range map[string]struct {
		keyset string
		change change
		reason v1.Reason
		field  string
	}{
		"unknown keyset":  {"nope", none, v1.KeysetUnknown, ""},
		"raw keyset":      {"raw", none, v1.PurposeMismatch, ""},
		"enc keyset":      {"enc", none, v1.PurposeMismatch, ""},
		"no key yet":      {"empty", none, v1.NotReady, ""},
		"no default":      {"any", none, v1.BadRequest, "/alg"},
		"unknown alg":     {"default", func(r *v1.ClientAssertionRequest) { r.Alg = "HS256" }, v1.AlgorithmUnavailable, "/alg"},
		"kid gone":        {"default", func(r *v1.ClientAssertionRequest) { r.KID = "gone" }, v1.KidNotActive, "/kid"},
		"no client":       {"default", id(""), v1.BadRequest, "/client_id"},
		"the issuer":      {"default", id(signingtest.Issuer), v1.BadRequest, "/client_id"},
		"client no ASCII": {"default", id("é"), v1.BadRequest, "/client_id"},
		"client control":  {"default", id("a\n"), v1.BadRequest, "/client_id"},
		"client endless":  {"default", id(strings.Repeat("a", 513)), v1.BadRequest, "/client_id"},
		"no audience":     {"default", aud(""), v1.BadRequest, "/audience"},
		"audience bad":    {"default", aud("a\xff"), v1.BadRequest, "/audience"},
		"audience lines":  {"default", aud("a\nb"), v1.BadRequest, "/audience"},
		"audience long":   {"default", aud(strings.Repeat("a", 2049)), v1.BadRequest, "/audience"},
		"life no time":    {"default", life("60"), v1.BadRequest, "/lifetime"},
		"life endless":    {"default", life(strings.Repeat("1s", 10_000)), v1.LifetimeTooLong, "/lifetime"},
		"life negative":   {"default", life("-60s"), v1.BadRequest, "/lifetime"},
		"life zero":       {"default", life("0s"), v1.BadRequest, "/lifetime"},
		"life a fraction": {"default", life("1500ms"), v1.BadRequest, "/lifetime"},
		"life too long":   {"default", life("301s"), v1.LifetimeTooLong, "/lifetime"},
		"life far longer": {"default", life("2000000h"), v1.LifetimeTooLong, "/lifetime"},
	} {
		req := assertionRequest("")
		test.change(req)
		_, err := w.Service.SignClientAssertion(t.Context(), caller, test.keyset, req)
		expect(t, name, err, test.reason, test.field)
		if record := w.Audit.Last(); record.Outcome == "granted" || record.Reason != string(test.reason) || record.Operation != "client-assertion" {
			t.Errorf("%s: audited as %+v", name, record)
		}
	}
	for spec, key := range w.Keys {
		if n := key.Calls.Load(); n != 0 {
			t.Errorf("%s was asked to sign %d times", spec, n)
		}
	}
	_, err := w.Service.SignClientAssertion(t.Context(), policy.Caller{UID: 7}, "absent", assertionRequest(""))
	expect(t, "a stranger", err, v1.NotGranted, "")

	// max_token_lifetime bounds it, too.
	ks := w.Keysets()[0]
	ks.MaxTokenLifetime = 30 * time.Second
	w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, signingtest.All(uid)))
	req := assertionRequest("")
	req.Lifetime = "31s"
	_, err = w.Service.SignClientAssertion(t.Context(), caller, "default", req)
	expect(t, "max_token_lifetime", err, v1.LifetimeTooLong, "/lifetime")
	req.Lifetime = "30s"
	if _, err = w.Service.SignClientAssertion(t.Context(), caller, "default", req); err != nil {
		t.Error(err)
	}
	ks.MaxTokenLifetime = time.Second / 2
	w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, signingtest.All(uid)))
	_, err = w.Service.SignClientAssertion(t.Context(), caller, "default", assertionRequest(""))
	expect(t, "no whole second", err, v1.LifetimeTooLong, "/lifetime")
}

// certificate is one that a verifier can parse.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The chain, its digest and the address of the JWKS stand in tokens and assertions alike.
func TestHeaderBySettings(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	ks := w.Keysets()[0]
	ks.Active = ks.Active[1:2]
	der := certificate(t)
	cert := base64.StdEncoding.EncodeToString(der)
	ks.Active[0].Chain = [][]byte{der, der}
	ks.Header = signing.HeaderSettings{NoKID: true, X5C: true, JKU: "https://a.example/j", Allow: []string{"trace"}, Types: []string{"at+jwt"}}
	ks.Assertion.Typ = "client-authentication+jwt"
	w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, signingtest.All(uid)))
	tail := `,"x5c":["` + cert + `","` + cert + `"],"jku":"https://a.example/j"`
	jwtWith := func(header map[string]string) (string, error) {
		req := &v1.JWTRequest{Claims: claims("")}
		if len(header) > 0 {
			req.Header = headerOf(header)
		}
		reply, err := w.Service.SignJWT(t.Context(), caller, "default", req)
		if err != nil {
			return "", err
		}
		return reply.Token, nil
	}
	token, err := jwtWith(map[string]string{"typ": `"at+jwt"`, "trace": `[1]`})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, token, jose.ES256, w.Keys[keyspec.P256].Public)
	if got, _ := segments(t, token); got != `{"alg":"ES256","typ":"at+jwt"`+tail+`,"trace":[1]}` {
		t.Errorf("token: %s", got)
	}
	reply, err := w.Service.SignClientAssertion(t.Context(), caller, "default", assertionRequest(""))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := segments(t, reply.ClientAssertion); got != `{"alg":"ES256","typ":"client-authentication+jwt"`+tail+`}` {
		t.Errorf("assertion: %s", got)
	}
	_, err = jwtWith(nil)
	expect(t, "JWT is none of the types", err, v1.BadHeader, "/header/typ")
	_, err = jwtWith(map[string]string{"typ": `"JWT"`})
	expect(t, "asked for", err, v1.BadHeader, "/header/typ")
	_, err = jwtWith(map[string]string{"typ": `"at+jwt"`, "x5c": `["` + cert + `"]`})
	expect(t, "x5c of the caller's", err, v1.BadHeader, "/header/x5c")

	// The same as a signing input, and with what is not the keyset's.
	input := token[:strings.LastIndex(token, ".")]
	again, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{SigningInput: input, KID: w.KIDs[keyspec.P256]})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, input+"."+again.Signature, jose.ES256, w.Keys[keyspec.P256].Public)
	payload := input[strings.Index(input, "."):]
	for header, reason := range map[string]v1.Reason{
		`{"alg":"ES256","typ":"at+jwt"}`:                                       "",
		`{"alg":"ES256","typ":"at+jwt","x5c":["` + cert + `","` + cert + `"]}`: "",
		`{"alg":"ES256","typ":"at+jwt","x5c":["` + cert + `"]}`:                v1.BadHeader,
		`{"alg":"ES256","typ":"at+jwt","jku":"https://evil.example/j"}`:        v1.BadHeader,
		`{"alg":"ES256","typ":"at+jwt","x5t#S256":"x"}`:                        v1.BadHeader,
		`{"alg":"ES256","typ":"at+jwt","x5u":"https://a.example/j"}`:           v1.BadHeader,
		`{"alg":"ES256","typ":"at+jwt","kid":"` + w.KIDs[keyspec.P256] + `"}`:  v1.BadHeader,
		`{"alg":"ES256"}`:                              v1.BadHeader,
		`{"alg":"ES256","typ":"JWT"}`:                  v1.BadHeader,
		`{"alg":"ES256","typ":"at+jwt","trace":1e400}`: v1.BadHeader,
		`{"alg":"ES256","typ":"at+jwt","trace":"` + strings.Repeat("x", 4090) + `"}`: v1.TooLarge,
		`{"alg":"ES256","typ":"at+jwt","trace":"` + strings.Repeat("x", 4080) + `"}`: "",
	} {
		_, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{SigningInput: base64.RawURLEncoding.EncodeToString([]byte(header)) + payload})
		if reason == "" {
			if err != nil {
				t.Errorf("%s: %v", header, err)
			}
			continue
		}
		expect(t, header[:min(len(header), 80)], err, reason, "/signing_input")
	}
	_, err = w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{SigningInput: input, KID: "gone"})
	expect(t, "kid pinned beside an input without", err, v1.KidNotActive, "/kid")
}
