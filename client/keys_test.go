package client_test

import (
	"errors"
	"strings"
	"testing"

	"keysetd.example/client"
	"keysetd.example/signing/signingtest"
)

func TestKeys(t *testing.T) {
	c, w := open(t)
	w.List(t)
	list, err := c.Keys(t.Context(), "default")
	if err != nil || len(list.Keys) != 4 {
		t.Fatal(list, err)
	}
	if k := list.Keys[0]; k.KID != "now" || !k.Current || !k.CurrentSince.Equal(signingtest.Noon) || !strings.HasPrefix(k.Cert, "-----BEGIN CERTIFICATE-----\n") || !strings.HasPrefix(k.PKCS7, "-----BEGIN PKCS7-----\n") || len(k.Fingerprint) != 59 || len(k.Thumbprint) != 40 {
		t.Errorf("%+v", k)
	}
	if k := list.Keys[3]; !k.Revoked || k.RevokedAt.IsZero() || k.State != "revoked" || k.Spec != "p-521" || k.Generation != 1 {
		t.Errorf("%+v", k)
	}
	if _, err := c.Keys(t.Context(), "no/pe"); !errors.Is(err, client.ErrKeysetUnknown) {
		t.Errorf("an unknown one: %v", err)
	}
}
