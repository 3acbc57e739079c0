package jwks_test

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

// provider is a discovery block that has what it must.
func provider(change map[string]any) jwks.Discovery {
	members := map[string]any{"authorization_endpoint": "https://issuer.example/authorize?tenant=a&b", "token_endpoint": "https://issuer.example/token"}
	for name, value := range change {
		if members[name] = value; value == left {
			delete(members, name)
		}
	}
	return jwks.Discovery{Keyset: "default", Issuer: "https://issuer.example/a/", PublicURL: "https://keys.example/b", Members: members}
}

// left stands for a member that is left out.
const left = "left out"

func TestDiscovery(t *testing.T) {
	keys := []jwks.Key{published(t, keyspec.P256, false), published(t, keyspec.RSA2048, false), published(t, keyspec.RSA3072, false),
		with(published(t, keyspec.P384, false), func(k *jwks.Key) { k.Use = jwks.Encryption })}
	given := provider(map[string]any{"claims_supported": []any{"sub", "email"}, "request_parameter_supported": false, "mtls_endpoint_aliases": map[string]any{"token_endpoint": "https://mtls.example/token"}})
	before := maps.Clone(given.Members)
	p, err := jwks.NewDiscovery(given, keys, minute)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(before, given.Members, func(a, b any) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("the configuration was changed: %v", given.Members)
	}
	d := opened(t, jwks.Keyset{Name: "default", JWKS: page(t, "one"), Discovery: p}, jwks.Keyset{Name: "other", JWKS: page(t, "two")},
		jwks.Keyset{Name: "pem", JWKS: page(t, "three"), Discovery: p})
	for _, target := range []string{"/.well-known/openid-configuration", "/keysets/default/.well-known/openid-configuration", "/keysets/pem/.well-known/openid-configuration"} {
		resp := ask(d, "GET", target)
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Content-Type") != "application/json" || h.Get("Access-Control-Allow-Origin") != "*" || maxAge(t, resp) == 0 || h.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %v", target, resp.StatusCode, h)
		}
		if code := ask(d, "HEAD", target, "If-None-Match", h.Get("Etag")).StatusCode; code != http.StatusNotModified {
			t.Errorf("%s, If-None-Match: %d", target, code)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(text(t, resp)), &got); err != nil {
			t.Fatal(err)
		}
		if want := map[string]any{
			"issuer": "https://issuer.example/a/", "jwks_uri": "https://keys.example/b/keysets/default/jwks.json",
			"authorization_endpoint": "https://issuer.example/authorize?tenant=a&b", "token_endpoint": "https://issuer.example/token",
			"response_types_supported": []any{"code"}, "subject_types_supported": []any{"public"},
			"id_token_signing_alg_values_supported": []any{"ES256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
			"claims_supported":                      []any{"sub", "email"}, "request_parameter_supported": false,
			"mtls_endpoint_aliases": map[string]any{"token_endpoint": "https://mtls.example/token"},
		}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v, want\n%v", target, got, want)
		}
	}
	for _, target := range []string{"/keysets/other/.well-known/openid-configuration", "/keysets/gone/.well-known/openid-configuration"} {
		if code := ask(d, "GET", target).StatusCode; code != 404 {
			t.Errorf("%s: %d", target, code)
		}
	}
}

func TestDiscoveryRefuses(t *testing.T) {
	with := func(change func(*jwks.Discovery)) jwks.Discovery {
		d := provider(nil)
		change(&d)
		return d
	}
	type members = map[string]any
	for _, tc := range []struct {
		given jwks.Discovery
		want  string
	}{
		{provider(nil), ""},
		{provider(members{"response_types_supported": []any{"id_token", "id_token token"}, "token_endpoint": left}), ""},
		{provider(members{"response_types_supported": []string{"id_token"}, "token_endpoint": left}), ""},
		{provider(members{"response_types_supported": []any{"id_token", "id_token code"}, "token_endpoint": left}), "token_endpoint is missing"},
		{provider(members{"token_endpoint": left}), "token_endpoint is missing"},
		{provider(members{"authorization_endpoint": left}), "authorization_endpoint is missing"},
		{provider(members{"authorization_endpoint": ""}), "authorization_endpoint: has no value"},
		{provider(members{"token_endpoint": nil}), "token_endpoint: has no value"},
		{provider(members{"claims_supported": []any{}}), "claims_supported: has no value"},
		{provider(members{"x": members{}}), "x: has no value"},
		{provider(members{"token_endpoint": "/token"}), `token_endpoint: "/token" has to be`},
		{provider(members{"token_endpoint": "https:///token"}), "token_endpoint: "},
		{provider(members{"token_endpoint": "https://me@issuer.example/token"}), "token_endpoint: "},
		{provider(members{"token_endpoint": "https://issuer.example/token#"}), "token_endpoint: "},
		{provider(members{"op_policy_uri": "javascript:alert(1)"}), "op_policy_uri: "},
		{provider(members{"op_policy_uri": "ftp://issuer.example/policy"}), "op_policy_uri: "},
		{provider(members{"op_tos_uri": 7}), "op_tos_uri: has to be a URL"},
		{provider(members{"response_types_supported": "code"}), "response_types_supported: has to be a list"},
		{provider(members{"response_types_supported": []any{"code", 1}}), "response_types_supported: has to be a list"},
		{provider(members{"response_types_supported": []any{1, "code"}}), "response_types_supported: has to be a list"},
		{provider(members{"subject_types_supported": true}), "subject_types_supported: has to be a list"},
		{provider(members{"issuer": "https://issuer.example"}), "issuer is not for the discovery block"},
		{provider(members{"Issuer": "https://issuer.example"}), "Issuer is not for the discovery block"},
		{provider(members{"jwks_uri": "https://issuer.example"}), "jwks_uri is not for"},
		{provider(members{"id_token_signing_alg_values_supported": []any{"none"}}), "supported is not for"},
		{provider(members{"signed_metadata": "e30.e30.e30"}), "signed_metadata is not for"},
		{provider(members{"x": math.NaN()}), "encoding the discovery document"},
		{with(func(d *jwks.Discovery) { d.Issuer = "issuer" }), `issuer "issuer" has to be`},
		{with(func(d *jwks.Discovery) { d.Issuer += "?a" }), "issuer "},
		{with(func(d *jwks.Discovery) { d.PublicURL = "" }), `public_url "" has to be`},
	} {
		p, err := jwks.NewDiscovery(tc.given, publishedAll(t), minute)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) || (p == nil) != (err != nil) {
			t.Errorf("%v: %v, want %q", tc.given, err, tc.want)
		}
	}
	if p, err := jwks.NewDiscovery(provider(nil), nil, jwks.Options{MaxAge: time.Second - 1}); err == nil || p != nil {
		t.Error("a max-age that is too short was taken")
	}
	if p, err := jwks.NewDiscovery(provider(nil), []jwks.Key{{KID: "a", Use: jwks.Signature}}, minute); err == nil || p != nil {
		t.Error("a key that is none was taken")
	}
	// No key signs: there is nothing that may be said of algorithms.
	enc := published(t, keyspec.P256, false)
	enc.Use = jwks.Encryption
	if p, err := jwks.NewDiscovery(provider(nil), []jwks.Key{enc}, minute); err != nil || p != nil {
		t.Errorf("without a key that signs: %v, %v", p, err)
	}
}
