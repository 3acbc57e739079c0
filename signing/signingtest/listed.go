package signingtest

import (
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
	"keysetd.example/signing"
)

// Noon is when the keys of List came into use, revoked an hour after.
var Noon = time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)

// List has "default" and "enc" list the keys "now" with a chain of two, "next", "before" and "gone".
func (w *World) List(t testing.TB) {
	t.Helper()
	w.Listed = []signing.KeyRecord{
		{KID: "now", Spec: keyspec.P256, Generation: 2, State: rotation.Active, CurrentSince: Noon, Chain: append(certify(t, w.Keys[keyspec.P256]), certify(t, w.Keys[keyspec.P384])...)},
		{KID: "next", Spec: keyspec.P256, Generation: 3, State: rotation.Pending},
		{KID: "before", Spec: keyspec.P384, Generation: 1, State: rotation.Retired, CurrentSince: Noon.AddDate(-1, 0, 0), CurrentUntil: Noon},
		{KID: "gone", Spec: keyspec.P521, Generation: 1, RevokedAt: Noon.Add(time.Hour)},
	}
}

func (w *World) records() []signing.KeyRecord { return w.Listed }

// certify gives key a certificate from Noon until ten years later.
func certify(t testing.TB, key *Key) [][]byte {
	t.Helper()
	chain, err := x5c.SelfSigned(x5c.Request{
		Subject: x5c.Subject{Organization: "Example", Country: "CH"}, CommonName: "test", NotBefore: Noon, NotAfter: Noon.AddDate(10, 0, 0),
	}, key.Private())
	if err != nil {
		t.Fatal(err)
	}
	return chain
}
