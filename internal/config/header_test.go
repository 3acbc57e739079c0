package config

import (
	"strings"
	"testing"

	service "keysetd.example/signing"
)

// No setting lets callers say how a token is read, or which key verifies it.
func TestFixedParameters(t *testing.T) {
	for _, name := range []string{"alg", "kid", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc", "KID", "X5C"} {
		text := strings.Replace(least, "keys: [p-256]", "keys: [p-256], header: {allow: [nonce, "+name+"]}", 1)
		_, err := Parse("k.yaml", []byte(text), testOptions)
		if want := "keysets.k.header.allow[1]: names a parameter that is never the caller's to set; those are " + join(service.FixedParameters()); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

// The typ of client assertions is for no token, however it is written.
func TestTypesOfTokens(t *testing.T) {
	for _, typ := range []string{"client-authentication+jwt", "Application/Client-Authentication+JWT"} {
		text := strings.Replace(least, "keys: [p-256]", "keys: [p-256], types: [at+jwt, "+typ+"]", 1)
		_, err := Parse("k.yaml", []byte(text), testOptions)
		if want := "keysets.k.types[1]: is the typ of client assertions, which operation client-assertion makes; no token has it"; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", typ, err, want)
		}
	}
}

// Certificates of static keys are those of their chains.
func TestHeaderOfStaticKeys(t *testing.T) {
	opts := testOptions
	opts.ReadFile = oneFile("chain.pem", chainPEM(t, rsaKey(t)))
	text := func(active, previous string) []byte {
		return []byte(`token: {module: m.so, label: l, pin: {file: pin}}
keysets:
  k:
    purpose: jwt
    issuer: i
    mode: static
    header: {x5c: true}
    static: {rsa: {active: {label: a, kid: a` + active + `}, previous: {label: p, kid: p` + previous + `}}}
`)
	}
	if _, err := Parse("k.yaml", text(", chain: chain.pem", ""), opts); err != nil {
		t.Error(err)
	}
	if _, err := Parse("k.yaml", text("", ", chain: chain.pem"), opts); err == nil || !strings.HasSuffix(err.Error(), "keysets.k.header.x5c: the keys have no certificates; give them some, or leave it out") {
		t.Errorf("got %v", err)
	}
}
