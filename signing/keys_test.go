package signing_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// Each key is one of current, next, previous and revoked, with its times.
func TestKeys(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	w.List(t)
	noon := signingtest.Noon
	for _, keyset := range []string{"default", "enc"} {
		list, err := w.Service.Keys(t.Context(), caller, keyset)
		if err != nil {
			t.Fatal(keyset, err)
		}
		if r := w.Audit.Last(); r.Operation != "read" || r.Outcome != audit.Granted || r.Keyset != keyset || !strings.Contains(r.Detail, "keys") {
			t.Errorf("audited as %+v", r)
		}
		want := []v1.ListedKey{
			{KID: "now", Current: true, CurrentSince: noon, Spec: "p-256", Generation: 2, State: "active"},
			{KID: "next", Next: true, Spec: "p-256", Generation: 3, State: "pending"},
			{KID: "before", Previous: true, CurrentSince: noon.AddDate(-1, 0, 0), CurrentUntil: noon, Spec: "p-384", Generation: 1, State: "retired"},
			{KID: "gone", Revoked: true, RevokedAt: noon.Add(time.Hour), Spec: "p-521", Generation: 1, State: "revoked"},
		}
		if len(list.Keys) != len(want) {
			t.Fatalf("%s: %+v", keyset, list.Keys)
		}
		checkForms(t, list.Keys[0], w.Listed[0].Chain)
		for i, got := range list.Keys {
			if i == 0 {
				got.Cert, got.PKCS7, got.Fingerprint, got.Thumbprint = "", "", "", ""
			}
			if got != want[i] {
				t.Errorf("%s: got %+v, want %+v", keyset, got, want[i])
			}
		}
	}
	if list, err := w.Service.Keys(t.Context(), caller, "raw"); err != nil || list.Keys == nil || len(list.Keys) != 0 {
		t.Errorf("no keys: %+v, %v", list, err) // and [] in JSON
	}
}

// checkForms: all forms are of the same chain.
func checkForms(t *testing.T, k v1.ListedKey, chain [][]byte) {
	t.Helper()
	block, rest := pem.Decode([]byte(k.Cert))
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 || !bytes.Equal(block.Bytes, chain[0]) {
		t.Errorf("certificate: %s", k.Cert)
	}
	block, rest = pem.Decode([]byte(k.PKCS7))
	if block == nil || block.Type != "PKCS7" || len(rest) > 0 {
		t.Fatalf("PKCS #7: %s", k.PKCS7)
	}
	bundle, err := pkcs7.Parse(block.Bytes)
	if err != nil || len(bundle.Certificates) != 2 || !bytes.Equal(bundle.Certificates[0].Raw, chain[0]) || !bytes.Equal(bundle.Certificates[1].Raw, chain[1]) {
		t.Errorf("PKCS #7: %+v, %v", bundle, err)
	}
	sum := sha1.Sum(chain[0])
	if k.Thumbprint != strings.ToUpper(hex.EncodeToString(sum[:])) || strings.ReplaceAll(k.Fingerprint, ":", "") != k.Thumbprint || len(k.Fingerprint) != 59 {
		t.Errorf("%s and %s of %x", k.Fingerprint, k.Thumbprint, sum)
	}
}

// A key that was revoked has no certificate and is nothing else, whatever its record says.
func TestKeysRevoked(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	w.List(t)
	w.Listed[0].RevokedAt = signingtest.Noon
	list, err := w.Service.Keys(t.Context(), caller, "default")
	if err != nil {
		t.Fatal(err)
	}
	if k := list.Keys[0]; k.Current || !k.Revoked || k.State != "revoked" || k.Cert+k.PKCS7+k.Fingerprint+k.Thumbprint != "" {
		t.Errorf("%+v", k)
	}
}

// Whoever may not read learns nothing, not whether there is such a keyset.
func TestKeysGrants(t *testing.T) {
	for _, op := range []policy.Operation{policy.Read, policy.Decrypt, policy.Admin} {
		svc := policy.Rule{Name: "svc", UID: new(uint32(uid)), Keysets: []string{"default", "enc", "nope"}, Operations: []policy.Operation{op}}
		w := signingtest.New(t, svc)
		asked := 0
		keysets := w.Keysets()
		keysets[0].Records = func() []signing.KeyRecord { asked++; return nil }
		w.Service.Swap(w.StateOf(t, keysets, svc))
		for keyset, reason := range map[string]v1.Reason{"default": "", "enc": "", "nope": v1.KeysetUnknown, "any": v1.NotGranted} {
			if op != policy.Read {
				reason = v1.NotGranted
			}
			list, err := w.Service.Keys(t.Context(), caller, keyset)
			if reason == "" && (err != nil || list == nil) || reason != "" && list != nil {
				t.Errorf("%s on %s: %+v, %v", op, keyset, list, err)
			}
			if reason != "" {
				expect(t, string(op)+" on "+keyset, err, reason, "")
			}
		}
		if (asked > 0) != (op == policy.Read) { // nor are they listed before
			t.Errorf("%s: listed %d times", op, asked)
		}
	}
}

// What the log does not know of, or cannot be listed whole, nobody is told.
func TestKeysFaults(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	w.List(t)
	w.Audit.Fail(errors.New("disk full"))
	list, err := w.Service.Keys(t.Context(), caller, "default")
	if list != nil {
		t.Errorf("not audited: %+v", list)
	}
	expect(t, "not audited", err, v1.AuditFailed, "")
	w.Audit.Fail(nil)

	keysets := w.Keysets()
	keysets[0].Records = func() []signing.KeyRecord { panic("secret") }
	w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
	list, err = w.Service.Keys(t.Context(), caller, "default")
	if list != nil {
		t.Errorf("%+v", list)
	}
	expectFault(t, "panic", err)
}
