package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// expect fails the test unless err has this reason, and points at field.
func expect(t *testing.T, name string, err error, reason v1.Reason, field string) {
	t.Helper()
	e, ok := errors.AsType[*v1.Error](err)
	if !ok || e.Reason != reason || e.Field != field || e.Detail == "" {
		t.Errorf("%s: got %#v, want %s at %q", name, err, reason, field)
	}
}

func rule(algs ...jose.SignatureAlgorithm) policy.Rule {
	return policy.Rule{Name: "svc", UID: new(uint32(uid)), Keysets: []string{"default", "nope"}, Operations: []policy.Operation{policy.JWT}, Algorithms: algs}
}

// Without a grant a keyset that exists and one that does not must look the same.
func TestNotGrantedTellsNothing(t *testing.T) {
	w := signingtest.New(t, rule(jose.ES256))
	stranger := policy.Caller{UID: 7}
	for _, alg := range []string{"", "ES256", "HS256"} {
		var told []string
		for _, keyset := range []string{"default", "raw", "empty", "absent"} {
			_, err := w.Service.SignJWT(t.Context(), stranger, keyset, &v1.JWTRequest{Claims: claims(""), Alg: alg})
			expect(t, keyset, err, v1.NotGranted, "")
			_, rawErr := w.Service.Sign(t.Context(), stranger, keyset, &v1.SignRequest{Payload: new(""), Alg: alg})
			expect(t, keyset, rawErr, v1.NotGranted, "")
			told = append(told, strings.ReplaceAll(fmt.Sprint(err), keyset, "KEYSET"))
		}
		for _, s := range told {
			if s != told[0] {
				t.Errorf("alg %q: %q and %q differ", alg, s, told[0])
			}
		}
	}
	_, err := w.Service.Keyset(t.Context(), stranger, "absent")
	expect(t, "read", err, v1.NotGranted, "")
}

func TestGrants(t *testing.T) {
	w := signingtest.New(t, rule(jose.ES256, jose.ES384))
	sign := func(keyset, alg, kid string) error {
		_, err := w.Service.SignJWT(t.Context(), caller, keyset, &v1.JWTRequest{Claims: claims(""), Alg: alg, KID: kid})
		return err
	}
	for _, alg := range []string{"", "ES256", "ES384"} {
		if err := sign("default", alg, ""); err != nil {
			t.Errorf("alg %q: %v", alg, err)
		}
	}
	expect(t, "alg not granted", sign("default", "RS256", ""), v1.NotGranted, "")
	expect(t, "alg not granted, by kid", sign("default", "", w.KIDs[keyspec.RSA2048]), v1.NotGranted, "")
	expect(t, "keyset not granted", sign("any", "ES256", ""), v1.NotGranted, "")
	expect(t, "granted and absent", sign("nope", "", ""), v1.KeysetUnknown, "")
	expect(t, "granted and absent", sign("nope", "ES256", ""), v1.KeysetUnknown, "")
	_, err := w.Service.Sign(t.Context(), caller, "default", &v1.SignRequest{Payload: new("")})
	expect(t, "operation not granted", err, v1.NotGranted, "")
	_, err = w.Service.SignJWT(t.Context(), policy.Caller{UID: 65534}, "default", &v1.JWTRequest{Claims: claims("")})
	expect(t, "overflow uid", err, v1.NotGranted, "")

	// An algorithm in a signing input's header counts like one in the request.
	full := signingtest.New(t, signingtest.All(uid))
	reply, err := full.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: claims(""), Alg: "PS512"})
	if err != nil {
		t.Fatal(err)
	}
	full.Service.Swap(full.State(t, rule(jose.ES256)))
	_, err = full.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{SigningInput: reply.Token[:strings.LastIndex(reply.Token, ".")]})
	expect(t, "alg not granted, by signing input", err, v1.NotGranted, "")
}

func TestSwap(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	if _, err := w.Service.Keyset(t.Context(), caller, "default"); err != nil {
		t.Fatal(err)
	}
	w.Service.Swap(w.State(t))
	_, err := w.Service.Keyset(t.Context(), caller, "default")
	expect(t, "after the swap", err, v1.NotGranted, "")
}

func TestAuditRecord(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	exp := time.Now().Add(time.Minute).Unix()
	reply, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: fmt.Appendf(nil, `{"exp":%d,"jti":"abc"}`, exp), Alg: "ES384"})
	if err != nil {
		t.Fatal(err)
	}
	r := w.Audit.Last()
	sum := sha256.Sum256([]byte(reply.Token[:strings.LastIndex(reply.Token, ".")]))
	if !bytes.Equal(r.Digest, sum[:]) || r.Time.IsZero() {
		t.Errorf("record %+v", r)
	}
	r.Digest, r.Time = nil, time.Time{}
	want := audit.Record{
		Caller: audit.Caller{UID: uid, GID: 1001, PID: 4242}, Operation: "jwt", Keyset: "default",
		KID: w.KIDs[keyspec.P384], Alg: "ES384", JTI: "abc", Exp: exp, Outcome: audit.Granted,
	}
	if fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", want) {
		t.Errorf("record %+v\nwant   %+v", r, want)
	}
}

// What the audit log does not have must not leave (invariant 8).
func TestAuditFails(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	for err, reason := range map[error]v1.Reason{errors.New("disk full"): v1.AuditFailed, context.DeadlineExceeded: v1.DeadlineExceeded} {
		w.Audit.Fail(err)
		jwt, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: claims("")})
		if expect(t, "jwt", err, reason, ""); jwt != nil {
			t.Errorf("jwt released %+v", jwt)
		}
		raw, err := w.Service.Sign(t.Context(), caller, "raw", &v1.SignRequest{Payload: new("aGk"), Alg: "ES256"})
		if expect(t, "sign", err, reason, ""); raw != nil {
			t.Errorf("sign released %+v", raw)
		}
		state, err := w.Service.Keyset(t.Context(), caller, "default")
		if expect(t, "read", err, reason, ""); state != nil {
			t.Errorf("read released %+v", state)
		}
	}
	_, err := w.Service.SignJWT(t.Context(), policy.Caller{UID: 7}, "default", &v1.JWTRequest{Claims: claims("")})
	expect(t, "a refusal stays one", err, v1.NotGranted, "")
	w.Audit.Fail(nil)
	if _, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: claims("")}); err != nil {
		t.Errorf("after the disk has room again: %v", err)
	}
}

func TestTokenErrors(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	for err, want := range map[error]v1.Error{
		hsm.ErrUnavailable:  {Reason: v1.Unavailable, RetryAfterMillis: 1000},
		hsm.ErrOverloaded:   {Reason: v1.Overloaded, RetryAfterMillis: 100},
		hsm.ErrPINBlocked:   {Reason: v1.Unavailable},
		hsm.ErrWrongSerial:  {Reason: v1.Unavailable},
		hsm.ErrClosed:       {Reason: v1.Unavailable, RetryAfterMillis: 1000},
		hsm.ErrKeyNotFound:  {Reason: v1.Internal},
		hsm.ErrBadSignature: {Reason: v1.Internal},
		hsm.ErrUnsupported:  {Reason: v1.AlgorithmUnavailable},
		hsm.ErrWrongKey:     {Reason: v1.Internal},
		&hsm.OverloadedError{RetryAfter: 3 * time.Second}: {Reason: v1.Overloaded, RetryAfterMillis: 3000},
		hsm.ErrTemplate:                                    {Reason: v1.Internal},
		context.DeadlineExceeded:                           {Reason: v1.DeadlineExceeded},
		context.Canceled:                                   {Reason: v1.DeadlineExceeded},
		errors.New("CKR 0x5 in /etc/secret"):               {Reason: v1.Internal},
		errors.Join(hsm.ErrPINBlocked, hsm.ErrUnavailable): {Reason: v1.Unavailable},
	} {
		w.Keys[keyspec.P256].Fail(fmt.Errorf("signing with key x: %w", err))
		_, got := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: claims("")})
		expect(t, err.Error(), got, want.Reason, "")
		e, _ := errors.AsType[*v1.Error](got)
		if e.RetryAfterMillis != want.RetryAfterMillis || !errors.Is(got, err) || strings.Contains(e.Error(), "CKR") {
			t.Errorf("%v: told %+v", err, e)
		}
		outcome := audit.Failed
		if want.Reason == v1.AlgorithmUnavailable { // the caller's to mend
			outcome = audit.Refused
		}
		if r := w.Audit.Last(); r.Outcome != outcome || r.Digest == nil || r.KID == "" {
			t.Errorf("%v: audited as %+v", err, r)
		}
	}
}

func TestMetrics(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	req := &v1.JWTRequest{Claims: claims("")}
	for range 3 {
		if _, err := w.Service.SignJWT(t.Context(), caller, "default", req); err != nil {
			t.Fatal(err)
		}
	}
	w.Service.SignJWT(t.Context(), caller, "nope", req)
	w.Keys[keyspec.P256].Fail(hsm.ErrUnavailable)
	w.Service.SignJWT(t.Context(), caller, "default", req)
	w.Service.Keyset(t.Context(), caller, "default")

	families, err := w.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := f.GetName() + " " + strings.Join(labels, " ")
			if h := m.GetHistogram(); h != nil && h.GetSampleCount() > 0 {
				got[name] = h.GetSampleCount()
				if len(h.GetBucket()) == 0 || h.Schema == nil {
					t.Errorf("%s lacks classic buckets or the native form", name)
				}
			}
			if c := m.GetCounter(); c != nil && c.GetValue() > 0 {
				got[name] = uint64(c.GetValue())
			}
		}
	}
	want := map[string]uint64{
		"keysetd_sign_duration_seconds ES256 ok":     3,
		"keysetd_sign_duration_seconds none refused": 1,
		"keysetd_sign_duration_seconds ES256 error":  1,
		"keysetd_signatures_total ES256 default":     3,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if problems, err := testutil.GatherAndLint(w.Registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestRead(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid), policy.Rule{Name: "one", UID: new(uint32(7)), Keysets: []string{"raw"}, Operations: []policy.Operation{policy.Read}})
	all, err := w.Service.Keysets(t.Context(), caller)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range all.Keysets {
		names = append(names, fmt.Sprint(k.Name, " ", k.Purpose, " ", k.Ready, " ", len(k.Algorithms)))
	}
	if want := "[any any true 10 default jwt true 10 empty jwt false 0 enc enc true 5 raw raw true 10]"; fmt.Sprint(names) != want {
		t.Errorf("keysets %v, want %s", names, want)
	}
	if len(all.Tokens) != 1 || !all.Tokens[0].Up {
		t.Errorf("tokens %+v", all.Tokens)
	}
	if ks := all.Keysets[1]; ks.Algorithms[0] != "ES256" || ks.Issuer != signingtest.Issuer || len(ks.Generations) != 1 {
		t.Errorf("default: %+v", ks)
	}
	one, err := w.Service.Keysets(t.Context(), policy.Caller{UID: 7})
	if err != nil || len(one.Keysets) != 1 || one.Keysets[0].Name != "raw" {
		t.Errorf("a caller who may read one: %+v, %v", one, err)
	}
	for _, uid := range []uint32{0, 65533} {
		if l, err := w.Service.Keysets(t.Context(), policy.Caller{UID: uid}); err != nil || len(l.Keysets) != 5 {
			t.Errorf("root and the daemon's own uid: %+v, %v", l, err)
		}
	}
	_, err = w.Service.Keysets(t.Context(), policy.Caller{UID: 8})
	expect(t, "may read none", err, v1.NotGranted, "")
	_, err = w.Service.Keyset(t.Context(), caller, "nope")
	expect(t, "absent", err, v1.KeysetUnknown, "")
	if n := len(w.Audit.Records()); n != 6 {
		t.Errorf("%d records of 6 acts", n)
	}
}

func TestStateChecked(t *testing.T) {
	w := signingtest.New(t)
	key := w.Keys[keyspec.P256]
	ok := signing.ActiveKey{KID: "k", Spec: keyspec.P256, Key: key, Public: key.Public}
	for name, ks := range map[string]signing.Keyset{
		"purpose":        {Name: "a", Purpose: "sing"},
		"lifetime":       {Name: "a", Purpose: signing.PurposeJWT},
		"enc that signs": {Name: "a", Purpose: signing.PurposeEnc, Active: []signing.ActiveKey{ok}},
		"kid empty":      {Name: "a", Purpose: signing.PurposeRaw, Active: []signing.ActiveKey{{Spec: keyspec.P256, Key: key, Public: key.Public}}},
		"kid not UTF-8":  {Name: "a", Purpose: signing.PurposeRaw, Active: []signing.ActiveKey{{KID: "\xff", Spec: keyspec.P256, Key: key, Public: key.Public}}},
		"spec":           {Name: "a", Purpose: signing.PurposeRaw, Active: []signing.ActiveKey{{KID: "k", Spec: "dsa", Key: key, Public: key.Public}}},
		"no handle":      {Name: "a", Purpose: signing.PurposeRaw, Active: []signing.ActiveKey{{KID: "k", Spec: keyspec.P256, Public: key.Public}}},
		"no public half": {Name: "a", Purpose: signing.PurposeRaw, Active: []signing.ActiveKey{{KID: "k", Spec: keyspec.P256, Key: key}}},
	} {
		if _, err := signing.NewState(nil, []signing.Keyset{ks}, w.Metrics); err == nil || !strings.Contains(err.Error(), "keyset a: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw := signing.Keyset{Name: "a", Purpose: signing.PurposeRaw}
	if _, err := signing.NewState(nil, []signing.Keyset{raw, raw}, w.Metrics); err == nil {
		t.Error("a keyset twice was taken")
	}
}

// stubKey signs in no time and no memory.
type stubKey [64]byte

func (k *stubKey) Sign(context.Context, []byte, crypto.SignerOpts) ([]byte, error) { return k[:], nil }

func (*stubKey) Unsupported(crypto.SignerOpts) bool { return false }

// The path of a signature allocates little besides what it returns; most of it is the
// reading of the claims.
func TestAllocations(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	keysets := w.Keysets()[:1]
	keysets[0].Active = []signing.ActiveKey{{KID: "k", Spec: keyspec.P256, Key: new(stubKey), Public: w.Keys[keyspec.P256].Public}}
	p, err := policy.New([]policy.Rule{signingtest.All(uid)}, policy.Options{OverflowUID: 65534})
	if err != nil {
		t.Fatal(err)
	}
	state, err := signing.NewState(p, keysets, w.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	w.Service.Swap(state)
	req := &v1.JWTRequest{Claims: claims(`,"iss":"https://issuer.example","sub":"someone","jti":"0123456789"`)}
	n := testing.AllocsPerRun(100, func() {
		if _, err := w.Service.SignJWT(t.Context(), caller, "default", req); err != nil {
			t.Fatal(err)
		}
	})
	if n > 22 { // it was 21
		t.Errorf("%v allocations for a token", n)
	}
}
