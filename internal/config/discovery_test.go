package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"keysetd.example/jwks"
)

// A configuration with a discovery document that says all it can, one field on a line.
const goodDiscovery = `token: {module: /m.so, label: l, pin: {file: pin}}
public_url: https://keys.example
keysets:
  default:
    purpose: jwt
    issuer: https://issuer.example
    keys: [p-256]
    discovery:
      authorization_endpoint: https://issuer.example/authorize
      token_endpoint: https://issuer.example/token
      scopes_supported: [openid, profile]
`

func TestDiscovery(t *testing.T) {
	cfg, err := Parse("k.yaml", []byte(goodDiscovery), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"authorization_endpoint": "https://issuer.example/authorize", "token_endpoint": "https://issuer.example/token",
		"scopes_supported": []string{"openid", "profile"},
	}
	if got := cfg.Keysets["default"].Discovery.Members(); !reflect.DeepEqual(got, want) {
		t.Errorf("its members are %v, want %v", got, want)
	}
	for name, edit := range map[string][2]string{
		"none":           {goodDiscovery[strings.Index(goodDiscovery, "    discovery:"):], ""},
		"of any purpose": {"purpose: jwt", "purpose: any"},
		"implicit":       {"token_endpoint: https://issuer.example/token", "response_types_supported: [id_token]"},
		"without lists":  {"      scopes_supported: [openid, profile]\n", ""},
	} {
		cfg, err := Parse("k.yaml", []byte(strings.Replace(goodDiscovery, edit[0], edit[1], 1)), testOptions)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		k := cfg.Keysets["default"]
		if k.Discovery == nil {
			continue
		}
		// What is accepted here, the page can be made of.
		made := jwks.Discovery{Keyset: "default", Issuer: k.Issuer, PublicURL: cfg.PublicURL, Members: k.Discovery.Members()}
		if _, err := jwks.NewDiscovery(made, nil, jwks.Options{MaxAge: time.Minute}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMembersAreAllFields: each field is a member of the same name, and none that is left out is there.
func TestMembersAreAllFields(t *testing.T) {
	var d Discovery
	if got := d.Members(); len(got) != 0 {
		t.Errorf("of nothing the members are %v", got)
	}
	v := reflect.ValueOf(&d).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString("https://x")
		} else {
			f.Set(reflect.ValueOf([]string{"x"}))
		}
	}
	got := d.Members()
	for _, name := range fields(v.Type()) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if len(got) != v.NumField() {
		t.Errorf("%d members of %d fields", len(got), v.NumField())
	}
}

func TestBadDiscovery(t *testing.T) {
	for _, tc := range []struct{ old, new, want string }{
		{"purpose: jwt\n    issuer: https://issuer.example", "purpose: raw", "7:5: keysets.default.discovery: does not apply to purpose raw, whose keys sign no ID tokens; leave it out"},
		{"purpose: jwt\n    issuer: https://issuer.example", "purpose: enc\n    max_message_age: 1h", "8:5: keysets.default.discovery: does not apply to purpose enc, whose keys sign no ID tokens; leave it out"},
		{"issuer: https://issuer.example", "any_issuer: true", "8:5: keysets.default.discovery: needs the keyset's issuer, for a document speaks for one issuer; give that, or leave discovery out"},
		{"      authorization_endpoint: https://issuer.example/authorize\n", "", "8:5: keysets.default.discovery: authorization_endpoint is missing; OpenID Connect Discovery requires it"},
		{"public_url: https://keys.example\n", "", "7:5: keysets.default.discovery: needs public_url, of which clients read the JWKS; give that, or leave discovery out"},
		{"[openid, profile]", "openid", "11:25: keysets.default.discovery.scopes_supported: must be a list, as in [a, b]"},
		{"scopes_supported: [openid, profile]", "jwks_uri: https://hunter2", "11:7: keysets.default.discovery.jwks_uri: is not a field; the fields here are " + strings.Join(fields(reflect.TypeFor[Discovery]()), ", ")},
		{"scopes_supported: [openid, profile]", "issuer: https://hunter2", "11:7: keysets.default.discovery.issuer: is not a field; the fields here are " + strings.Join(fields(reflect.TypeFor[Discovery]()), ", ")},

		// What the page could not be made of.
		{"      token_endpoint: https://issuer.example/token\n", "", "8:5: keysets.default.discovery: token_endpoint is missing; OpenID Connect Discovery requires it where a code is to be redeemed (response_types_supported)"},
		{"token_endpoint: https://issuer.example/token", "token_endpoint: hunter2", "10:7: keysets.default.discovery.token_endpoint: must be an http or https URL without user and fragment"},
		{"authorize\n", "authorize#hunter2\n", "9:7: keysets.default.discovery.authorization_endpoint: must be an http or https URL without user and fragment"},
		{"scopes_supported: [openid, profile]", "op_tos_uri: https://u:hunter2@issuer.example", "11:7: keysets.default.discovery.op_tos_uri: must be an http or https URL without user and fragment"},
		{"issuer: https://issuer.example\n", "issuer: hunter2\n", "8:5: keysets.default.discovery: needs an issuer that is an http or https URL without user, query and fragment, for relying parties ask below it"},
	} {
		text := strings.Replace(goodDiscovery, tc.old, tc.new, 1)
		if text == goodDiscovery {
			t.Fatalf("%q does not change anything", tc.old)
		}
		_, err := Parse("k.yaml", []byte(text), testOptions)
		if want := "k.yaml:" + tc.want; err == nil || err.Error() != want {
			t.Errorf("\n got %.300v\nwant %s", err, want)
		}
	}
}
