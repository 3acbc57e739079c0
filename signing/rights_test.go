package signing_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// limited is a rule for tokens and assertions that is narrowed by change.
func limited(change func(*policy.Rule)) policy.Rule {
	r := policy.Rule{
		Name: "svc", UID: new(uint32(uid)), Keysets: []string{"any"}, Operations: []policy.Operation{policy.JWT, policy.ClientAssertion},
		Algorithms: []jose.SignatureAlgorithm{jose.ES256}, ClientIDs: []string{policy.All}, Priority: 5,
	}
	change(&r)
	return r
}

// Each limit of a rule is held against the request as it will be signed, in every form that it can
// come in; what is refused has not reached the key.
func TestRightsOfTheWholeRequest(t *testing.T) {
	w := signingtest.New(t)
	kid := w.KIDs[keyspec.P256]
	good, bad := claims(`,"aud":["api"],"sub":"good"`), claims(`,"aud":["api","other"],"sub":"bad"`)
	input := func(typ string, claims jsontext.Value) *v1.JWTRequest {
		return &v1.JWTRequest{SigningInput: segmentOf(fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"%s"}`, kid, typ)) + "." + segmentOf(string(claims))}
	}
	token := func(typ string, claims jsontext.Value) *v1.JWTRequest {
		return &v1.JWTRequest{Alg: "ES256", Claims: claims, Header: headerOf(map[string]string{"typ": `"` + typ + `"`})}
	}
	type requests map[bool][]any // granted or not
	assertion := func(client, audience string) *v1.ClientAssertionRequest {
		return &v1.ClientAssertionRequest{ClientID: client, Audience: audience, Alg: "ES256"}
	}
	for name, test := range map[string]struct {
		change   func(*policy.Rule)
		requests requests
	}{
		"types": {func(r *policy.Rule) { r.Types = []string{"at+jwt"} }, requests{
			true:  {token("at+jwt", good), token("AT+JWT", good), token("application/at+jwt", good), input("at+jwt", good)},
			false: {token("JWT", good), input("JWT", good), &v1.JWTRequest{Alg: "ES256", Claims: good}, assertion("a", "api"), &v1.JWTRequest{SigningInput: segmentOf(`{"alg":"ES256","kid":"`+kid+`"}`) + "." + segmentOf(string(good))}},
		}},
		"types of assertions": {func(r *policy.Rule) { r.Types = []string{"jwt"} }, requests{
			true:  {assertion("a", "api"), token("JWT", good)},
			false: {token("at+jwt", good)},
		}},
		"audiences": {func(r *policy.Rule) { r.Audiences = []string{"api"} }, requests{
			true:  {token("JWT", good), input("JWT", good), assertion("a", "api")},
			false: {token("JWT", bad), input("JWT", bad), assertion("a", "other"), token("JWT", claims(""))},
		}},
		"client ids": {func(r *policy.Rule) { r.ClientIDs = []string{"a"} }, requests{
			true:  {assertion("a", "api"), token("JWT", good)},
			false: {assertion("b", "api")},
		}},
		"claims": {func(r *policy.Rule) { r.Claims = `claims.sub == "good" && header.alg == "ES256"` }, requests{
			true:  {token("JWT", good), input("JWT", good), assertion("good", "api")},
			false: {token("JWT", bad), input("JWT", bad), assertion("bad", "api"), token("JWT", claims(""))},
		}},
		"header": {func(r *policy.Rule) { r.Claims = `header.typ == "at+jwt" && header.kid == "` + kid + `"` }, requests{
			true:  {token("at+jwt", good), input("at+jwt", good)},
			false: {token("JWT", good), input("JWT", good), assertion("a", "api")},
		}},
	} {
		w.Service.Swap(w.State(t, limited(test.change)))
		for granted, all := range test.requests {
			for _, req := range all {
				calls := w.Keys[keyspec.P256].Calls.Load()
				var err error
				switch r := req.(type) {
				case *v1.JWTRequest:
					_, err = w.Service.SignJWT(t.Context(), caller, "any", r)
				case *v1.ClientAssertionRequest:
					_, err = w.Service.SignClientAssertion(t.Context(), caller, "any", r)
				}
				signed := w.Keys[keyspec.P256].Calls.Load() > calls
				if granted {
					if err != nil || !signed {
						t.Errorf("%s: %+v: %v", name, req, err)
					}
					continue
				}
				expect(t, name, err, v1.NotGranted, "")
				if signed || w.Audit.Last().Reason != "not_granted" {
					t.Errorf("%s: %+v: signed %v, audited as %+v", name, req, signed, w.Audit.Last())
				}
			}
		}
	}
}

// The rate of a rule is one for all its operations and forms, items of batches included, and a
// caller is told when to come again.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signingtest.New(t)
		everything := signingtest.All(uid)
		everything.Rate, everything.Burst = 2, 4
		w.Service.Swap(w.State(t, everything))
		exp := func() jsontext.Value { return fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(time.Minute).Unix()) }
		ask := []func() error{
			func() error {
				_, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: exp(), Alg: "ES256"})
				return err
			},
			func() error {
				_, err := w.Service.Sign(t.Context(), caller, "any", &v1.SignRequest{Payload: new(""), Alg: "ES256"})
				return err
			},
			func() error {
				_, err := w.Service.SignClientAssertion(t.Context(), caller, "any", assertionRequest("ES256"))
				return err
			},
			func() error {
				reply, err := w.Service.Batch(t.Context(), caller, "any", &v1.BatchRequest{Items: []v1.BatchItem{{Sign: &v1.SignRequest{Payload: new(""), Alg: "ES256"}}}})
				if err == nil && reply.Items[0].Error != nil {
					err = reply.Items[0].Error
				}
				return err
			},
		}
		for i, f := range ask {
			if err := f(); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		calls := w.Keys[keyspec.P256].Calls.Load()
		for i, f := range ask {
			e, ok := errors.AsType[*v1.Error](f())
			if !ok || e.Reason != v1.RateLimited || e.RetryAfterMillis < 1 || e.RetryAfterMillis > 500 {
				t.Errorf("%d: %+v", i, e)
			}
			if r := w.Audit.Last(); r.Outcome != "refused" || r.Reason != "rate_limited" {
				t.Errorf("audited as %+v", r)
			}
		}
		if n := w.Keys[keyspec.P256].Calls.Load(); n != calls {
			t.Errorf("the key was asked %d times", n-calls)
		}
		// What cannot be signed costs nothing.
		_, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: claims(`,"iat":true`), Alg: "ES256"})
		expect(t, "bad claims", err, v1.BadClaims, "/claims/iat")
		time.Sleep(500 * time.Millisecond)
		if err := ask[0](); err != nil {
			t.Errorf("after the time given: %v", err)
		}
		reply, err := w.Service.Batch(t.Context(), caller, "any", &v1.BatchRequest{Items: []v1.BatchItem{{Sign: &v1.SignRequest{Payload: new(""), Alg: "ES256"}}}})
		if err != nil || reply.Items[0].Error == nil || reply.Items[0].Error.RetryAfterMillis < 1 {
			t.Errorf("%+v, %v", reply, err)
		}
	})
}

// The token is told whom each signature is for, and how urgent the rule is that granted it.
func TestShare(t *testing.T) {
	w := signingtest.New(t)
	var share hsm.Share
	w.Keys[keyspec.P256].Hook(func(ctx context.Context) { share = shareOf(t, ctx) })
	for _, priority := range []int{9, 0} {
		all := signingtest.All(uid)
		all.Priority = priority
		w.Service.Swap(w.State(t, all))
		want := hsm.Share{Owner: "uid 1001", Priority: priority}
		for op, ask := range map[string]func() error{
			"jwt": func() error {
				_, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: claims(""), Alg: "ES256"})
				return err
			},
			"sign": func() error {
				_, err := w.Service.Sign(t.Context(), caller, "any", &v1.SignRequest{Payload: new(""), Alg: "ES256"})
				return err
			},
			"client-assertion": func() error {
				_, err := w.Service.SignClientAssertion(t.Context(), caller, "any", assertionRequest("ES256"))
				return err
			},
		} {
			share = hsm.Share{}
			if err := ask(); err != nil || share != want {
				t.Errorf("%s: %+v, want %+v; %v", op, share, want, err)
			}
		}
	}
}

// shareOf looks into ctx, as only package hsm can otherwise.
func shareOf(t *testing.T, ctx context.Context) hsm.Share {
	v := reflect.ValueOf(ctx).Elem().FieldByName("val")
	if !v.IsValid() || v.Elem().Type() != reflect.TypeFor[hsm.Share]() {
		t.Errorf("%T has no share", ctx)
		return hsm.Share{}
	}
	return hsm.Share{Owner: v.Elem().FieldByName("Owner").String(), Priority: int(v.Elem().FieldByName("Priority").Int())}
}
