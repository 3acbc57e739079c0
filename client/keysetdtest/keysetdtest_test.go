package keysetdtest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/client/keysetdtest"
	"keysetd.example/client/keysetdtest/internal/process"
)

// sign returns a token that the keyset default signed.
func sign(t *testing.T, c *client.Client, alg string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"iss": keysetdtest.Issuer, "sub": "alice", "exp": time.Now().Add(time.Minute).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.SignJWT(t.Context(), keysetdtest.Default, &v1.JWTRequest{Claims: claims, Alg: alg})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Token
}

// verify verifies it by the JWKS as it is now, and returns its kid.
func verify(t *testing.T, d *keysetdtest.Daemon, token string) string {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(fetch(t, d, keysetdtest.Default), &claims); err != nil {
		t.Fatal(err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: keysetdtest.Issuer, Subject: "alice"}); err != nil {
		t.Fatal(err)
	}
	return parsed.Headers[0].KeyID
}

func fetch(t *testing.T, d *keysetdtest.Daemon, keyset string) *jose.JSONWebKeySet {
	t.Helper()
	resp, err := http.Get(d.JWKSURL(keyset))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	set := new(jose.JSONWebKeySet)
	if err := json.NewDecoder(resp.Body).Decode(set); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return set
}

func TestStart(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	d := keysetdtest.Start(t)
	t.Logf("ready after %v", time.Since(begun).Round(time.Millisecond))
	c := d.Client(t)
	first := sign(t, c, "")
	before := verify(t, d, first)
	for range 2 {
		begun := time.Now()
		d.Rotate(t, keysetdtest.Default)
		t.Logf("rotated after %v", time.Since(begun).Round(time.Millisecond))
		after := verify(t, d, sign(t, c, ""))
		if after == before {
			t.Error("the same key signs after Rotate")
		}
		before = after
	}
	verify(t, d, first) // its key is still published
}

// TestParallel: daemons beside each other know nothing of each other, with and without RSA.
func TestParallel(t *testing.T) {
	for name, options := range map[string][]keysetdtest.Option{
		"plain": nil,
		"RSA":   {keysetdtest.WithRSA()},
		"own":   {keysetdtest.WithKeyset("partner", "{purpose: jwt, any_issuer: true, keys: [ed25519]}")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			d := keysetdtest.Start(t, options...)
			t.Logf("ready after %v", time.Since(begun).Round(time.Millisecond))
			alg := "ES256"
			if name == "RSA" {
				alg = "RS256"
			}
			verify(t, d, sign(t, d.Client(t), alg))
			if name == "own" {
				if keys := fetch(t, d, "partner").Keys; len(keys) == 0 {
					t.Error("the keyset partner has no keys")
				}
			}
		})
	}
}

// TestNotReady: what is wrong is told, and nothing stays behind.
func TestNotReady(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for want, option := range map[string]keysetdtest.Option{
		"/nowhere/libsofthsm2.so": keysetdtest.WithModule("/nowhere/libsofthsm2.so"),
		"purpose":                 keysetdtest.WithKeyset("odd", "{purpose: odd}"),
	} {
		d, err := keysetdtest.Launch(t.Context(), option)
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want something about %s", err, want)
		}
	}
	if left, err := os.ReadDir(tmp); len(left) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestNeverTheTestsAgain: a process that was started by this package does not run the tests, which would
// start another, whatever it was given.
func TestNeverTheTestsAgain(t *testing.T) {
	for _, role := range []string{process.Daemon, process.Worker, "odd"} {
		for _, args := range [][]string{nil, {"/nowhere"}, {"-test.run=^$"}, {"a", "b", "c"}} {
			cmd := exec.Command("/proc/self/exe", args...)
			cmd.Env = []string{process.Variable + "=" + role}
			out, err := cmd.CombinedOutput()
			if err == nil || bytes.Contains(out, []byte("PASS")) || bytes.Contains(out, []byte("testing:")) {
				t.Errorf("%s %v: %v\n%s", role, args, err, out)
			}
		}
	}
}
