package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	v1 "keysetd.example/api/v1"
	"keysetd.example/jwks/x5c"
	"keysetd.example/signing/signingtest"
)

func TestKeys(t *testing.T) {
	w, _ := serve(t)
	if out := mustCtl(t, "", "keys", "default"); out != "there is no key, and none was revoked; `keysetctl status` says why\n" {
		t.Errorf("%s", out)
	}
	w.List(t)
	table := strings.Join(strings.Fields(mustCtl(t, "", "keys", "default")), " ")
	for _, want := range []string{
		"KID STATE SPEC GENERATION CURRENT SINCE CURRENT UNTIL CERTIFICATE UNTIL FINGERPRINT now current p-256 2 ",
		"next next p-256 3 - - - - before previous p-384 1 ", "gone revoked in ", "(2031-01-01T13:00:00Z) p-521 1 - - - -",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	var list v1.KeyList
	if err := json.Unmarshal([]byte(mustCtl(t, "", "keys", "default", "--json")), &list); err != nil || len(list.Keys) != 4 {
		t.Fatalf("JSON: %+v, %v", list, err)
	}
	if got := mustCtl(t, "", "keys", "default", "--pem", "now"); got != list.Keys[0].Cert || !strings.HasPrefix(got, "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("%s", got)
	}
	for line, want := range map[string]string{
		"keys": "2: keysetctl: 0 arguments do not fit", "keys default --pem now --json": "2: keysetctl: --pem and --json exclude each other",
		"keys nope":                  "1: keysetctl: reading the keys of keyset nope: keyset_unknown",
		"keys default --pem nothing": "1: keysetctl: keyset default has no key nothing; `keysetctl keys default` lists them",
		"keys default --pem gone":    "1: keysetctl: key gone was revoked, and its certificate is gone",
		"keys default --pem next":    "1: keysetctl: key next has no certificate that is valid now",
	} {
		out, err := ctl(t, "", strings.Fields(line)...)
		if err == nil || out != "" || !strings.HasPrefix(string(rune('0'+exitCode(err)))+": "+oneLine(err), want) {
			t.Errorf("%s: %q, %v", line, out, err)
		}
	}
}

func TestPrintKeys(t *testing.T) {
	w := signingtest.New(t)
	w.List(t)
	var out bytes.Buffer
	err := printKeys(&out, &v1.KeyList{Keys: []v1.ListedKey{
		{KID: "a", Current: true, CurrentSince: noon.AddDate(0, 0, -2), Spec: "p-256", Generation: 2, State: "active", Fingerprint: "0A:FF", Cert: string(x5c.EncodePEM(w.Listed[0].Chain[:1]))},
		{KID: "b", Previous: true, CurrentSince: noon.AddDate(0, 0, -4), CurrentUntil: noon.AddDate(0, 0, -2), Spec: "p-256", Generation: 1, State: "retired", Cert: "bad"},
		{KID: "c\x1b[2J", Revoked: true, RevokedAt: noon, Spec: "p-256", State: "revoked"},
		{KID: "d", State: "lent"},
	}}, noon)
	want := `KID    STATE                               SPEC   GENERATION  CURRENT SINCE                    CURRENT UNTIL                    CERTIFICATE UNTIL                  FINGERPRINT
a      current                             p-256  2           2d0h ago (2026-11-19T12:00:00Z)  -                                in 5155d0h (2041-01-01T12:00:00Z)  0A:FF
b      previous                            p-256  1           4d0h ago (2026-11-17T12:00:00Z)  2d0h ago (2026-11-19T12:00:00Z)  -                                  -
c [2J  revoked now (2026-11-21T12:00:00Z)  p-256  -           -                                -                                -                                  -
d      lent                                -      -           -                                -                                -                                  -
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}
