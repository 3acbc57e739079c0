package signing_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// forms are the ways to ask for a token of these claims by operation jwt, on a keyset with ES256.
func forms(w *signingtest.World, claims jsontext.Value) map[string]*v1.JWTRequest {
	header := fmt.Sprintf(`{"alg":"ES256","kid":"%s"}`, w.KIDs[keyspec.P256])
	return map[string]*v1.JWTRequest{
		"claims":        {Alg: "ES256", Claims: claims},
		"signing input": {SigningInput: segmentOf(header) + "." + segmentOf(string(claims))},
	}
}

// Operation jwt is no way around the right to make client assertions.
func TestSelfIssuedNeedsTheGrantOfAssertions(t *testing.T) {
	only := func(ops ...policy.Operation) policy.Rule {
		return limited(func(r *policy.Rule) {
			if r.Operations = ops; len(ops) == 1 {
				r.ClientIDs = nil
			}
		})
	}
	second := func(change func(*policy.Rule)) []policy.Rule {
		other := limited(change)
		other.Name, other.Operations = "assertions", []policy.Operation{policy.ClientAssertion}
		return []policy.Rule{only(policy.JWT), other}
	}
	self := `,"iss":"client-1","sub":"client-1","aud":"https://as.example"`
	for name, test := range map[string]struct {
		rules  []policy.Rule
		claims string
		says   string // "": it is granted
	}{
		"no grant":          {[]policy.Rule{only(policy.JWT)}, self, "uid 1001 is not granted operation client-assertion on keyset any"},
		"sub escaped":       {[]policy.Rule{only(policy.JWT)}, `,"iss":"client-1","sub":"\u0063lient-1"`, "operation client-assertion"},
		"for this client":   {[]policy.Rule{only(policy.JWT, policy.ClientAssertion)}, self, ""},
		"for another":       {second(func(r *policy.Rule) { r.ClientIDs = []string{"client-2"} }), self, "caller assertions grants uid 1001 operation client-assertion on keyset any, but not for client id client-1; it grants client-2"},
		"for both":          {second(func(r *policy.Rule) { r.ClientIDs = []string{"client-2", "client-1"} }), self, ""},
		"another algorithm": {second(func(r *policy.Rule) { r.Algorithms = []jose.SignatureAlgorithm{jose.ES384} }), self, "not granted operation client-assertion with ES256"},
		"another keyset":    {second(func(r *policy.Rule) { r.Keysets = []string{"default"} }), self, "not granted operation client-assertion"},
		"another audience":  {second(func(r *policy.Rule) { r.Audiences = []string{"other"} }), self, "only for aud other; this token has https://as.example"},
		"other subject":     {[]policy.Rule{only(policy.JWT)}, `,"iss":"client-1","sub":"client-2"`, ""},
		"no subject":        {[]policy.Rule{only(policy.JWT)}, `,"iss":"client-1"`, ""},
		"neither":           {[]policy.Rule{only(policy.JWT)}, ``, ""},
	} {
		w := signingtest.New(t, test.rules...)
		for form, req := range forms(w, claims(test.claims)) {
			_, err := w.Service.SignJWT(t.Context(), caller, "any", req)
			calls := w.Keys[keyspec.P256].Calls.Load()
			if test.says == "" {
				if err != nil {
					t.Errorf("%s, %s: %v", name, form, err)
				}
				continue
			}
			expect(t, name, err, v1.NotGranted, "")
			if calls != 0 || !strings.Contains(fmt.Sprint(err), test.says) || !strings.Contains(fmt.Sprint(err), "iss and sub are the same") {
				t.Errorf("%s, %s: %v, %d signatures", name, form, err, calls)
			}
		}
	}
}

// It takes nothing from the rate of the rule for assertions, nor from any where it is refused.
func TestSelfIssuedCountsOnce(t *testing.T) {
	limit := func(op policy.Operation, name string) policy.Rule {
		return limited(func(r *policy.Rule) {
			r.Name, r.Operations, r.Rate, r.Burst = name, []policy.Operation{op}, 0.001, 1
			if op == policy.JWT {
				r.ClientIDs = nil
			} else {
				r.ClientIDs = []string{"client-1"}
			}
		})
	}
	w := signingtest.New(t, limit(policy.JWT, "tokens"), limit(policy.ClientAssertion, "assertions"))
	ask := func(client string) error {
		_, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Alg: "ES256", Claims: claims(`,"iss":"` + client + `","sub":"` + client + `"`)})
		return err
	}
	expect(t, "another client", ask("client-2"), v1.NotGranted, "")
	if err := ask("client-1"); err != nil {
		t.Error(err)
	}
	expect(t, "a second time", ask("client-1"), v1.RateLimited, "")
	if _, err := w.Service.SignClientAssertion(t.Context(), caller, "any", assertionRequest("ES256")); err != nil {
		t.Error(err)
	}
}

// It lives no longer than an assertion, and other tokens as long as they may.
func TestSelfIssuedLifetime(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	for life, good := range map[time.Duration]bool{5 * time.Minute: true, 6 * time.Minute: false} {
		exp := time.Now().Add(life).Unix()
		for form, req := range forms(w, fmt.Appendf(nil, `{"exp":%d,"sub":"a","iss":"a"}`, exp)) {
			field := "/claims/exp"
			if form != "claims" {
				field = "/signing_input"
			}
			if _, err := w.Service.SignJWT(t.Context(), caller, "any", req); !good {
				expect(t, form, err, v1.LifetimeTooLong, field)
			} else if err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
		if _, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Alg: "ES256", Claims: fmt.Appendf(nil, `{"exp":%d,"sub":"a","iss":"b"}`, exp)}); err != nil {
			t.Error(err)
		}
	}
}

// A keyset's own issuer speaks of itself by operation jwt: there are no assertions of it.
func TestIssuerOfItself(t *testing.T) {
	w := signingtest.New(t, rule(jose.ES256))
	for form, req := range forms(w, claims(`,"iss":"`+signingtest.Issuer+`","sub":"`+signingtest.Issuer+`"`)) {
		if _, err := w.Service.SignJWT(t.Context(), caller, "default", req); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

// The typ of client assertions is no token's, whatever is granted.
func TestTypOfAssertionsIsNoTokens(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	for _, keyset := range []string{"default", "any"} {
		for _, typ := range []string{"client-authentication+jwt", "Client-Authentication+JWT", "application/client-authentication+jwt", "Application/CLIENT-authentication+jwt"} {
			header := fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"%s"}`, w.KIDs[keyspec.P256], typ)
			for field, req := range map[string]*v1.JWTRequest{
				"/header/typ":    {Alg: "ES256", Claims: claims(""), Header: headerOf(map[string]string{"typ": `"` + typ + `"`})},
				"/signing_input": {SigningInput: segmentOf(header) + "." + segmentOf(string(claims("")))},
			} {
				_, err := w.Service.SignJWT(t.Context(), caller, keyset, req)
				expect(t, typ, err, v1.BadHeader, field)
				if !strings.Contains(fmt.Sprint(err), "operation client-assertion") {
					t.Error(err)
				}
			}
		}
	}
}

// A policy test tells what would become of such a token.
func TestPolicyTestOfSelfIssued(t *testing.T) {
	asker := policy.Caller{UID: 7}
	w := signingtest.New(t, signingtest.All(7), limited(func(r *policy.Rule) { r.Operations, r.ClientIDs = []policy.Operation{policy.JWT}, nil }))
	for more, granted := range map[string]bool{
		`,"iss":"a","sub":"a"`: false, `,"iss":"a","sub":"b"`: true, `,"sub":"a"`: true, ``: true,
	} {
		reply, err := w.Service.PolicyTest(t.Context(), asker, &v1.PolicyTestRequest{UID: new(uint32(uid)), GID: new(uint32(uid)), Operation: "jwt", Keyset: "any", Alg: "ES256", Claims: claims(more)})
		if err != nil || reply.Granted != granted || !granted && !strings.Contains(reply.Reason, "operation client-assertion") {
			e, _ := errors.AsType[*v1.Error](err)
			t.Errorf("%s: %+v, %v", more, reply, e)
		}
	}
}
