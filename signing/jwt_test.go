package signing_test

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

const uid = 1001

var caller = policy.Caller{UID: uid, GID: 1001, PID: 4242}

// specFor is the World's key for alg.
func specFor(t *testing.T, alg jose.SignatureAlgorithm) keyspec.Spec {
	t.Helper()
	for _, spec := range signingtest.Specs {
		if jwa.Fits(alg, spec) {
			return spec
		}
	}
	t.Fatalf("no key for %s", alg)
	return ""
}

// verify checks a compact JWS with both of the libraries that verifiers use.
func verify(t *testing.T, token string, alg jose.SignatureAlgorithm, pub crypto.PublicKey) []byte {
	t.Helper()
	sig, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
	if err != nil {
		t.Fatalf("go-jose: %v", err)
	}
	payload, err := sig.Verify(pub)
	if err != nil {
		t.Fatalf("go-jose: %s: %v", alg, err)
	}
	_, err = jwt.Parse(token, func(*jwt.Token) (any, error) { return pub, nil }, jwt.WithValidMethods([]string{string(alg)}))
	if err != nil {
		t.Fatalf("golang-jwt: %s: %v", alg, err)
	}
	return payload
}

func claims(more string) jsontext.Value {
	return jsontext.Value(fmt.Sprintf(`{ "exp" : %d%s }`, time.Now().Add(time.Minute).Unix(), more))
}

// segmentOf is one segment of a JWS.
func segmentOf(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// headerOf is the header of a request.
func headerOf(members map[string]string) map[string]jsontext.Value {
	header := map[string]jsontext.Value{}
	for name, value := range members {
		header[name] = jsontext.Value(value)
	}
	return header
}

func TestJWTWithEveryAlgorithm(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	for _, alg := range jwa.All() {
		spec := specFor(t, alg)
		kid := w.KIDs[spec]
		body := claims(`, "jti":"j-` + string(alg) + `", "x": [1.50, "\u0041\/"]`)
		reply, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: body, Alg: string(alg)})
		if err != nil {
			t.Fatal(err)
		}
		if payload := verify(t, reply.Token, alg, w.Keys[spec].Public); string(payload) != string(body) {
			t.Errorf("%s: signed %s instead of %s", alg, payload, body)
		}
		header, _ := base64.RawURLEncoding.DecodeString(reply.Token[:strings.Index(reply.Token, ".")])
		if want := fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"JWT"}`, alg, kid); string(header) != want {
			t.Errorf("header %s, want %s", header, want)
		}
		if reply.KID != kid || reply.Alg != string(alg) || reply.Signature != "" {
			t.Errorf("%s: reply %+v", alg, reply)
		}

		// The same header and claims as a signing input.
		input := reply.Token[:strings.LastIndex(reply.Token, ".")]
		again, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{SigningInput: input})
		if err != nil {
			t.Fatal(err)
		}
		verify(t, input+"."+again.Signature, alg, w.Keys[spec].Public)
		if again.KID != kid || again.Alg != string(alg) || again.Token != "" {
			t.Errorf("%s: reply %+v", alg, again)
		}
	}
}

func TestPayloadIsTheClaimsByteForByte(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	space := rapid.SampledFrom([]string{"", " ", "\n", "\t\r\n", "   "})
	value := rapid.SampledFrom([]string{`"\u0000\/é"`, `1.10`, `-0`, `1E+2`, `[ 1 , { } ]`, `"<&>"`, `null`, `"\uD83D\uDE00"`, "\"\u2028\""})
	rapid.Check(t, func(rt *rapid.T) {
		sp := func() string { return space.Draw(rt, "space") }
		raw := "{" + sp() + fmt.Sprintf(`"exp"%s:%s%d`, sp(), sp(), time.Now().Add(time.Minute).Unix())
		for i := range rapid.IntRange(0, 3).Draw(rt, "members") {
			raw += fmt.Sprintf(`%s,%s"c%d"%s:%s%s`, sp(), sp(), i, sp(), sp(), value.Draw(rt, "value"))
		}
		raw += sp() + "}"
		reply, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: jsontext.Value(raw)})
		if err != nil {
			rt.Fatal(err)
		}
		payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(reply.Token, ".")[1])
		if string(payload) != raw {
			rt.Fatalf("signed %q instead of %q", payload, raw)
		}
	})
}

func TestTypAndPinnedKid(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	p384 := w.KIDs[keyspec.P384]
	reply, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{
		Claims: claims(""), KID: p384, Header: map[string]jsontext.Value{"typ": jsontext.Value(`"at+jwt"`)},
	})
	if err != nil || reply.Alg != "ES384" || reply.KID != p384 {
		t.Fatalf("a pinned kid without alg: %+v, %v", reply, err)
	}
	verify(t, reply.Token, jose.ES384, w.Keys[keyspec.P384].Public)
	header, _ := base64.RawURLEncoding.DecodeString(strings.Split(reply.Token, ".")[0])
	if want := fmt.Sprintf(`{"alg":"ES384","kid":"%s","typ":"at+jwt"}`, p384); string(header) != want {
		t.Errorf("header %s, want %s", header, want)
	}
}

// A keyset with one algorithm needs no default to be asked without alg.
func TestOnlyAlgorithm(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	only := w.Keysets()[1]
	only.Active = only.Active[1:2]
	p, err := policy.New([]policy.Rule{signingtest.All(uid)}, policy.Options{OverflowUID: 65534})
	if err != nil {
		t.Fatal(err)
	}
	state, err := signing.NewState(p, []signing.Keyset{only}, w.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	w.Service.Swap(state)
	if reply, err := w.Service.Sign(t.Context(), caller, "raw", &v1.SignRequest{Payload: new("")}); err != nil || reply.Alg != "ES256" {
		t.Errorf("%+v, %v", reply, err)
	}
}

// Where an RSA key is published once more for an algorithm, tokens carry that entry's kid.
func TestKidOfAPublishedAlgorithm(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	kid := w.KIDs[keyspec.RSA2048]
	for alg, want := range map[string]string{"RS384": kid + "-RS384", "RS256": kid} {
		reply, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: claims(""), Alg: alg})
		if err != nil || reply.KID != want {
			t.Errorf("%s: kid %v, want %s; %v", alg, reply, want, err)
		}
	}
}

func TestJWTRefused(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	p256 := w.KIDs[keyspec.P256]
	input := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(claims(""))
	}
	good := fmt.Sprintf(`{"alg":"ES256","kid":"%s"}`, p256)
	far := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(2*time.Hour).Unix())
	for name, test := range map[string]struct {
		keyset string
		req    v1.JWTRequest
		reason v1.Reason
		field  string
	}{
		"unknown keyset":        {"nope", v1.JWTRequest{Claims: claims("")}, v1.KeysetUnknown, ""},
		"endless name":          {strings.Repeat("n", 10_000), v1.JWTRequest{Claims: claims("")}, v1.BadRequest, ""},
		"raw keyset":            {"raw", v1.JWTRequest{Claims: claims("")}, v1.PurposeMismatch, ""},
		"enc keyset":            {"enc", v1.JWTRequest{Claims: claims("")}, v1.PurposeMismatch, ""},
		"no key yet":            {"empty", v1.JWTRequest{Claims: claims("")}, v1.NotReady, ""},
		"nothing":               {"default", v1.JWTRequest{}, v1.BadRequest, "/claims"},
		"both":                  {"default", v1.JWTRequest{Claims: claims(""), SigningInput: input(good)}, v1.BadRequest, "/signing_input"},
		"unknown algorithm":     {"default", v1.JWTRequest{Claims: claims(""), Alg: "HS256"}, v1.AlgorithmUnavailable, "/alg"},
		"none":                  {"default", v1.JWTRequest{Claims: claims(""), Alg: "none"}, v1.AlgorithmUnavailable, "/alg"},
		"no default":            {"any", v1.JWTRequest{Claims: claims("")}, v1.BadRequest, "/alg"},
		"kid of nobody":         {"default", v1.JWTRequest{Claims: claims(""), KID: "gone"}, v1.KidNotActive, "/kid"},
		"kid of another key":    {"default", v1.JWTRequest{Claims: claims(""), KID: p256, Alg: "RS256"}, v1.KidNotActive, "/kid"},
		"header alg":            {"default", v1.JWTRequest{Claims: claims(""), Header: map[string]jsontext.Value{"alg": jsontext.Value(`"none"`)}}, v1.BadHeader, "/header/alg"},
		"bad claims":            {"default", v1.JWTRequest{Claims: jsontext.Value(`[]`)}, v1.BadClaims, "/claims"},
		"lifetime":              {"default", v1.JWTRequest{Claims: jsontext.Value(far)}, v1.LifetimeTooLong, "/claims/exp"},
		"issuer":                {"default", v1.JWTRequest{Claims: claims(`,"iss":"x"`)}, v1.IssuerMismatch, "/claims/iss"},
		"input with header":     {"default", v1.JWTRequest{SigningInput: input(good), Header: map[string]jsontext.Value{"typ": jsontext.Value(`"JWT"`)}}, v1.BadRequest, "/header"},
		"input, alg unlike":     {"default", v1.JWTRequest{SigningInput: input(good), Alg: "RS256"}, v1.BadSigningInput, "/signing_input"},
		"input, kid unlike":     {"default", v1.JWTRequest{SigningInput: input(good), KID: "x"}, v1.BadSigningInput, "/signing_input"},
		"input, kid gone":       {"default", v1.JWTRequest{SigningInput: input(`{"alg":"ES256","kid":"gone"}`)}, v1.KidNotActive, "/signing_input"},
		"input, key of another": {"default", v1.JWTRequest{SigningInput: input(fmt.Sprintf(`{"alg":"RS256","kid":"%s"}`, p256))}, v1.KidNotActive, "/signing_input"},
		"input, alg none":       {"default", v1.JWTRequest{SigningInput: input(fmt.Sprintf(`{"alg":"none","kid":"%s"}`, p256))}, v1.AlgorithmUnavailable, "/signing_input"},
		"input, alg empty":      {"default", v1.JWTRequest{SigningInput: input(fmt.Sprintf(`{"alg":"","kid":"%s"}`, p256))}, v1.BadSigningInput, "/signing_input"},
		"input, crit":           {"default", v1.JWTRequest{SigningInput: input(fmt.Sprintf(`{"alg":"ES256","kid":"%s","crit":["exp"]}`, p256))}, v1.BadHeader, "/signing_input"},
		"input, lifetime":       {"default", v1.JWTRequest{SigningInput: input(good)[:strings.Index(input(good), ".")+1] + base64.RawURLEncoding.EncodeToString([]byte(far))}, v1.LifetimeTooLong, "/signing_input"},
	} {
		_, err := w.Service.SignJWT(t.Context(), caller, test.keyset, &test.req)
		expect(t, name, err, test.reason, test.field)
		record := w.Audit.Last()
		if record.Outcome == "granted" || !strings.HasPrefix(record.Reason, string(test.reason)) || len(record.Keyset) > 300 {
			t.Errorf("%s: audited as %+v", name, record)
		}
	}
	for spec, key := range w.Keys {
		if n := key.Calls.Load(); n != 0 {
			t.Errorf("%s was asked to sign %d times", spec, n)
		}
	}
}
