package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

var testOptions = Options{LookupUser: lookup(1001), LookupGroup: lookup(2002)}

// lookup knows token-service alone.
func lookup(id uint32) func(string) (uint32, error) {
	return func(name string) (uint32, error) {
		if name == "token-service" {
			return id, nil
		}
		return 0, errors.New("there is no " + name)
	}
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Parse("/etc/keysetd/keysetd.yaml", []byte(text), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// The least that can be written.
const least = `token: {module: m.so, label: l, pin: {file: pin}}
keysets:
  k: {purpose: jwt, issuer: i, keys: [p-256]}
`

func TestDefaults(t *testing.T) {
	got := mustParse(t, least)
	want := &Config{
		single: true,
		Tokens: map[string]Token{"default": {
			Module: "/etc/keysetd/m.so", Label: "l", PIN: PIN{File: "/etc/keysetd/pin"}, Sessions: 8, VerifySignatures: VerifyRSA,
		}},
		Store: Store{Path: "/var/lib/keysetd/state.db"},
		Audit: Audit{Path: "/var/log/keysetd/audit.jsonl", Sync: audit.SyncSecond, Token: "default", Key: "p-256", Period: 90 * 24 * time.Hour},
		Listen: Listen{
			Socket: "/run/keysetd/keysetd.sock", SocketMode: 0o660, Public: "127.0.0.1:8080", Metrics: "127.0.0.1:9090",
		},
		Keysets: map[string]Keyset{"k": {
			Purpose: JWT, Issuer: "i", Mode: Dynamic, Token: "default", Keys: []keyspec.Spec{keyspec.P256},
			Header: Header{KID: true}, ClientAssertion: ClientAssertion{MaxLifetime: 5 * time.Minute, Typ: TypJWT, Audience: AudienceString},
			Publish: Publish{X5T: true}, Certificate: Certificate{Issuer: NoCertificate, Root: DropRoot},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if p := got.Keysets["k"].Policy("k"); p.Period != 12*time.Hour || p.Lead != 12*time.Hour || p.Retain != 12*time.Hour ||
		p.ClockSkew != 30*time.Second || p.MaxAge != 5*time.Minute || p.Usage != hsm.Sign || p.Token != "default" || p.Static != nil ||
		p.MaxFreeze != 7*24*time.Hour || p.ManualPerDay != 5 || p.ManualBurst != 5 || p.Jitter != (rotation.Policy{Period: p.Period}).Spread("k").Jitter {
		t.Errorf("policy %+v", p)
	}
	if rules := got.Rules(); len(rules) != 0 {
		t.Errorf("rules without callers: %v", rules)
	}
}

func TestExample(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keysetd.yaml")
	if err := os.WriteFile(path, []byte(Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := cfg.Keysets["default"]
	wantPolicy := rotation.Policy{
		Specs: []keyspec.Spec{keyspec.RSA2048, keyspec.P256}, Token: "default", Usage: hsm.Sign, Period: 12 * time.Hour,
		Lead: 12 * time.Hour, Retain: 12 * time.Hour, ClockSkew: 30 * time.Second, VerifierCache: time.Minute,
		MaxAge: 5 * time.Minute, MaxTokenLifetime: time.Hour, Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.PS256},
		MaxFreeze: 7 * 24 * time.Hour, ManualPerDay: 5, ManualBurst: 5,
	}.Spread("default")
	if got := k.Policy("default"); !reflect.DeepEqual(got, wantPolicy) {
		t.Errorf("policy %+v", got)
	}
	if want := (Subject{"Example", "Tokens", "Zurich", "ZH", "CH"}); k.Certificate.Subject != want || k.Certificate.Issuer != SelfSigned {
		t.Errorf("certificate %+v", k.Certificate)
	}
	want := []policy.Rule{
		{Name: "monitoring", UID: new(uint32(1002)), Keysets: []string{"*"}, Operations: []policy.Operation{policy.Read}, Priority: 5},
		{Name: "operator", UID: new(uint32(1003)), Keysets: []string{"*"}, Operations: []policy.Operation{policy.Read, policy.Rotate, policy.Revoke, policy.Certificate, policy.Freeze, policy.Admin}, Priority: 5},
		{Name: "reader", UID: new(uint32(1004)), Keysets: []string{"inbox"}, Operations: []policy.Operation{policy.Decrypt}, Priority: 5},
		{
			Name: "token-service", UID: new(uint32(1001)), Keysets: []string{"default"}, Operations: []policy.Operation{policy.JWT, policy.ClientAssertion},
			Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Types: []string{"JWT", "at+jwt"}, ClientIDs: []string{"token-service"},
			Audiences: []string{"api", "https://idp.example"}, Claims: `claims.exp - now <= 3600 && claims.scope in ["read", "write"]`, Rate: 100, Burst: 20, Priority: 5,
		},
	}
	if got := cfg.Rules(); !reflect.DeepEqual(got, want) {
		t.Errorf("rules %+v", got)
	}
	if h := k.Header; !reflect.DeepEqual(h, Header{KID: true, Allow: []string{"nonce"}}) || !slices.Equal(k.Types, []string{"JWT", "at+jwt", "oauth-authz-req+jwt"}) {
		t.Errorf("header %+v, types %v", h, k.Types)
	}
}

// The example names every field that the types have, so a new one cannot be forgotten.
func TestExampleHasEveryField(t *testing.T) {
	var lines []string
	for line := range strings.Lines(Example()) {
		lines = append(lines, strings.TrimLeft(line, " #"))
	}
	var walk func(reflect.Type)
	seen := make(map[reflect.Type]bool)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice:
			walk(typ.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if _, text := scalars[typ]; text || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			tag, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			switch {
			case tag == "":
				t.Errorf("%s.%s has no yaml name", typ, typ.Field(i).Name)
			case tag != "-" && !slices.ContainsFunc(lines, func(l string) bool {
				return strings.HasPrefix(l, tag+":") || strings.Contains(l, "{"+tag+":")
			}):
				t.Errorf("%s.%s: %s: is not in the example", typ, typ.Field(i).Name, tag)
			}
			walk(typ.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[Config]())
	if len(seen) < 12 {
		t.Errorf("looked at %d types only", len(seen))
	}
}

// What the example shows behind "#" is as right as the rest.
func TestExampleAlternatives(t *testing.T) {
	for _, tc := range []struct {
		out, in string
		dev     bool
	}{
		{"  label: keysetd ", `  # serial: "`, false},
		{"  label: keysetd ", `  # uri: "`, false},
		{"  pin: {file", "  # pin: {credential", false},
		{"  pin: {file", "  # pin: {env", true},
		{"    uid: 1001", "    # user: token-service", false},
		{"    uid: 1001", "    # gid: 1001", false},
		{"    uid: 1001", "    # group: token-service", false},
		{"", `  # reserved: "`, false},
		{"", "          # chain: partner", false},
	} {
		var b strings.Builder
		changed := 0
		for line := range strings.Lines(Example()) {
			switch {
			case tc.out != "" && strings.HasPrefix(line, tc.out):
				changed++
				continue
			case strings.HasPrefix(line, tc.in):
				changed++
				line = strings.Replace(line, "# ", "", 1)
			}
			b.WriteString(line)
		}
		opts := testOptions
		opts.Dev = tc.dev
		opts.ReadFile = oneFile("partner-2026.pem", chainPEM(t, rsaKey(t)))
		if _, err := Parse("keysetd.yaml", []byte(b.String()), opts); err != nil || changed == 0 || tc.out != "" && changed != 2 {
			t.Errorf("%s in place of %s: %d lines changed, %v", tc.in, tc.out, changed, err)
		}
	}
}

func TestValues(t *testing.T) {
	cfg := mustParse(t, `
tokens:
  a:
    uri: "pkcs11:token=My%20token;serial=0042;manufacturer=M;model=X%3b1?module-path=/opt/m.so"
    pin: {credential: keysetd.pin}
    sessions: 16
    verify_signatures: all
    environment: {A_1: "x=y, z", b: ""}
    reserved: "configdir='sql:/x'"
  b: {module: ../m.so, label: l, serial: "7", pin: {file: /p}}
store: {path: state.db}
audit: {path: ./log/audit.jsonl, sync: always, key: rsa-3072, period: 30d}
listen: {socket: sock, socket_mode: "600", socket_group: g, public: "off", metrics: "[::1]:0"}
public_url: https://keys.example/base/
keysets:
  a.b-c_1:
    purpose: any
    any_issuer: true
    token: b
    keys: [rsa-4096, ed25519]
    default_algorithm: PS512
    rotation: {period: manual, retain: until-revoked, lead: 0.5d, clock_skew: 1m30s, verifier_cache: 90s, max_freeze: 2d, manual_per_day: 1, manual_burst: 86400}
    publish: {x5t: false, algorithms: [RS384]}
    certificate: {issuer: self, subject: {organization: E, country: CH}}
    header: {kid: false, x5c: true, x5t#S256: true, jku: true, allow: [nonce, cty]}
    types: [at+jwt, Application/JWT]
    client_assertion: {max_lifetime: 90s, typ: client-authentication+jwt, audience: array}
    max_token_lifetime: 90s
  two: {purpose: raw, token: a, keys: [p-521], certificate: {issuer: none}}
callers:
  g: {gid: 0, keysets: [a.b-c_1], operations: [client-assertion], algorithms: [PS512], client_ids: [one, two], rate: 0.5, priority: 0, audiences: [aud]}
  h: {group: token-service, keysets: [a.b-c_1], operations: [jwt], algorithms: "*", types: [at+jwt], claims: 'claims.sub == "x"', rate: 1000000, burst: 1000000, priority: 9}
  x: {uid: 0, keysets: [two], operations: "*", algorithms: "*", client_ids: "*"}
  y: {user: token-service, keysets: [two], operations: [sign, read], algorithms: [ES512]}
  z: {uid: 1001, keysets: [a.b-c_1], operations: [jwt], algorithms: [EdDSA, RS256]}
`)
	if got, want := cfg.Tokens["a"], (Token{
		Module: "/opt/m.so", Label: "My token", Serial: "0042", Manufacturer: "M", Model: "X;1", PIN: PIN{Credential: "keysetd.pin"},
		URI:      "pkcs11:token=My%20token;serial=0042;manufacturer=M;model=X%3b1?module-path=/opt/m.so",
		Sessions: 16, VerifySignatures: VerifyAll, Environment: map[string]string{"A_1": "x=y, z", "b": ""}, Reserved: "configdir='sql:/x'",
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("token a:\n got %+v\nwant %+v", got, want)
	}
	if got := cfg.Tokens["b"]; got.Module != "/etc/m.so" || got.Serial != "7" || got.PIN.File != "/p" {
		t.Errorf("token b: %+v", got)
	}
	if want := (Listen{Socket: "/etc/keysetd/sock", SocketMode: 0o600, SocketGroup: "g", Metrics: "[::1]:0"}); cfg.Listen != want {
		t.Errorf("listen: %+v", cfg.Listen)
	}
	if cfg.Store.Path != "/etc/keysetd/state.db" || cfg.Audit != (Audit{"/etc/keysetd/log/audit.jsonl", audit.SyncAlways, "a", "rsa-3072", 30 * 24 * time.Hour}) || cfg.PublicURL != "https://keys.example/base" {
		t.Errorf("%+v %+v %s", cfg.Store, cfg.Audit, cfg.PublicURL)
	}
	k := cfg.Keysets["a.b-c_1"]
	if want := (Rotation{Period: Period{Manual: true}, Lead: 12 * time.Hour, Retain: Retain{UntilRevoked: true}, ClockSkew: 90 * time.Second, VerifierCache: 90 * time.Second, MaxFreeze: 48 * time.Hour, ManualPerDay: 1, ManualBurst: 86400}); k.Rotation != want || k.Publish.X5T || k.Token != "b" {
		t.Errorf("keyset: %+v", k)
	}
	if p := k.Policy("a.b-c_1"); !p.Manual || !p.RetainUntilRevoked || p.Retain != 0 || p.MaxFreeze != 48*time.Hour || p.ManualPerDay != 1 || p.ManualBurst != 86400 {
		t.Errorf("policy: %+v", p)
	}
	rules := cfg.Rules()
	if r := rules[2:]; len(r) != 3 || *r[0].UID != 0 || *r[1].UID != 1001 || *r[2].UID != 1001 || r[0].Operations[0] != "*" || r[0].Algorithms[0] != "*" || r[0].ClientIDs[0] != "*" {
		t.Errorf("rules: %+v", r)
	}
	wantRules := []policy.Rule{
		{Name: "g", GID: new(uint32(0)), Keysets: []string{"a.b-c_1"}, Operations: []policy.Operation{policy.ClientAssertion}, Algorithms: []jose.SignatureAlgorithm{jose.PS512}, ClientIDs: []string{"one", "two"}, Rate: 0.5, Audiences: []string{"aud"}},
		{Name: "h", GID: new(uint32(2002)), Keysets: []string{"a.b-c_1"}, Operations: []policy.Operation{policy.JWT}, Algorithms: []jose.SignatureAlgorithm{"*"}, Types: []string{"at+jwt"}, Claims: `claims.sub == "x"`, Rate: 1e6, Burst: 1e6, Priority: 9},
	}
	if !reflect.DeepEqual(rules[:2], wantRules) {
		t.Errorf("rules:\n got %+v\nwant %+v", rules[:2], wantRules)
	}
	if !reflect.DeepEqual(k.Header, Header{X5C: true, X5TS256: true, JKU: true, Allow: []string{"nonce", "cty"}}) || !slices.Equal(k.Types, []string{"at+jwt", "Application/JWT"}) ||
		k.ClientAssertion != (ClientAssertion{90 * time.Second, TypClientAuthentication, AudienceArray}) {
		t.Errorf("keyset: %+v", k)
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "0.5d": 12 * time.Hour, "7d": 168 * time.Hour,
		"1d12h": 0, "0.00000001d": 0, "0s": 0, "0d": 0, "-1h": 0, "-1d": 0, "1": 0, "d": 0, ".5d": 0, "1e3s": 0, "36501d": 0, "99999999d": 0, "NaNd": 0,
	} {
		if got, err := parseDuration(s); got != want || (err == nil) != (want != 0) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keysetd.yaml")
	if _, err := Load(path, Options{}); err == nil || err.Error() != "reading the configuration: open "+path+": no such file or directory" {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("toke: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := path + ":1:1: toke: is not a field; the fields here are token, tokens, store, audit, listen, public_url, certificate_authorities, keysets, callers"
	if _, err := Load(path, Options{}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A thousand keysets are read in a moment.
func TestManyKeysets(t *testing.T) {
	var b strings.Builder
	b.WriteString("token: {module: m.so, label: l, pin: {file: pin}}\nkeysets:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  k%d: {purpose: jwt, issuer: https://issuer.example, keys: [p-256]}\n", i)
	}
	if cfg := mustParse(t, b.String()); len(cfg.Keysets) != 1000 {
		t.Errorf("%d keysets", len(cfg.Keysets))
	}
}
