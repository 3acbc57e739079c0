package signing_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// TestPINRetry: only who is granted admin reaches the token, and the log tells which one.
func TestPINRetry(t *testing.T) {
	w := signingtest.New(t,
		policy.Rule{Name: "ops", UID: new(uint32(1)), Keysets: []string{"raw"}, Operations: []policy.Operation{policy.Admin}},
		policy.Rule{Name: "svc", UID: new(uint32(2)), Keysets: []string{policy.All}, Operations: []policy.Operation{policy.JWT, policy.Sign, policy.Read}, Algorithms: []jose.SignatureAlgorithm{policy.All}},
	)
	for _, c := range []struct {
		uid    uint32
		token  string
		reason v1.Reason
	}{
		{1, "main", ""},
		{1, "other", v1.NotFound},
		{2, "main", v1.NotGranted},
		{0, "main", v1.NotGranted},
	} {
		reply, err := w.Service.PINRetry(context.Background(), policy.Caller{UID: c.uid}, c.token)
		e, _ := errors.AsType[*v1.Error](err)
		if c.reason == "" && (err != nil || reply.Name != c.token) || c.reason != "" && (e == nil || e.Reason != c.reason) {
			t.Errorf("uid %d, token %s: %v, %v; want %q", c.uid, c.token, reply, err, c.reason)
		}
	}
	if got := strings.Join(w.Retried, ","); got != "main" {
		t.Errorf("tokens retried: %s", got)
	}
	if got := w.Audit.Records()[0]; got.Token != "main" || got.Operation != "admin" {
		t.Errorf("the audit log says %+v", got)
	}
}

// TestAccept: only the serial number that was refused can be accepted, and only by admin.
func TestAccept(t *testing.T) {
	w := signingtest.New(t, policy.Rule{Name: "ops", UID: new(uint32(1)), Keysets: []string{"raw"}, Operations: []policy.Operation{policy.Admin}})
	w.FoundSerial = "0999"
	for _, c := range []struct {
		uid    uint32
		serial string
		reason v1.Reason
	}{
		{1, "0123", v1.BadRequest},
		{1, "", v1.BadRequest},
		{2, "0999", v1.NotGranted},
		{1, "0999", ""},
	} {
		_, err := w.Service.Accept(context.Background(), policy.Caller{UID: c.uid}, "main", &v1.AcceptRequest{Serial: c.serial})
		e, _ := errors.AsType[*v1.Error](err)
		if c.reason == "" && err != nil || c.reason != "" && (e == nil || e.Reason != c.reason) {
			t.Errorf("uid %d, serial %q: %v, want %q", c.uid, c.serial, err, c.reason)
		}
	}
	if got := strings.Join(w.Accepted, ","); got != "0999" {
		t.Errorf("accepted: %s", got)
	}
}
