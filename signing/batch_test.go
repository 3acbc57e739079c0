package signing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

func TestBatch(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	items := []v1.BatchItem{
		{JWT: &v1.JWTRequest{Claims: claims(""), Alg: "ES256"}},
		{Sign: &v1.SignRequest{Payload: new("AAAA"), Alg: "EdDSA"}},
		{ClientAssertion: assertionRequest("ES384")},
		{JWT: &v1.JWTRequest{Claims: claims(`,"iat":true`), Alg: "ES256"}},
		{Sign: &v1.SignRequest{Payload: new("AAAA"), Alg: "nope"}},
		{},
		{JWT: &v1.JWTRequest{Claims: claims("")}, Sign: &v1.SignRequest{}},
		{JWT: &v1.JWTRequest{Claims: claims(""), Alg: "ES512"}},
	}
	reply, err := w.Service.Batch(t.Context(), caller, "any", &v1.BatchRequest{Items: items})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range reply.Items {
		switch {
		case r.Error != nil && r.JWT == nil && r.Sign == nil && r.ClientAssertion == nil:
			got = append(got, fmt.Sprint(r.Error.Reason, " ", r.Error.Field))
		case r.JWT != nil && r.Sign == nil && r.ClientAssertion == nil:
			got = append(got, "jwt "+r.JWT.Alg)
			verify(t, r.JWT.Token, jose.SignatureAlgorithm(r.JWT.Alg), w.Keys[specFor(t, jose.SignatureAlgorithm(r.JWT.Alg))].Public)
		case r.Sign != nil && r.ClientAssertion == nil:
			got = append(got, "sign "+r.Sign.Alg)
		case r.ClientAssertion != nil:
			got = append(got, "client-assertion "+r.ClientAssertion.Alg)
		}
	}
	want := []string{
		"jwt ES256", "sign EdDSA", "client-assertion ES384", "bad_claims /items/3/jwt/claims/iat",
		"algorithm_unavailable /items/4/sign/alg", "bad_request /items/5", "bad_request /items/6", "jwt ES512",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}

	var lines []string
	for _, r := range w.Audit.Records() {
		lines = append(lines, fmt.Sprint(r.Operation, " ", r.Outcome, " ", r.Reason))
	}
	slices.Sort(lines)
	wantLines := []string{
		"batch refused bad_request", "batch refused bad_request", "client-assertion granted ", "jwt granted ", "jwt granted ",
		"jwt refused bad_claims", "sign granted ", "sign refused algorithm_unavailable",
	}
	if !slices.Equal(lines, wantLines) {
		t.Errorf("audited %q\nwant    %q", lines, wantLines)
	}
}

func TestBatchRefusedAsAWhole(t *testing.T) {
	w := signingtest.New(t, rule(jose.ES256), policy.Rule{Name: "reader", UID: new(uint32(8)), Keysets: []string{policy.All}, Operations: []policy.Operation{policy.Read}})
	batch := func(c policy.Caller, keyset string, n int) error {
		_, err := w.Service.Batch(t.Context(), c, keyset, &v1.BatchRequest{Items: slices.Repeat([]v1.BatchItem{{JWT: &v1.JWTRequest{Claims: claims("")}}}, n)})
		return err
	}
	expect(t, "257", batch(caller, "default", 257), v1.BadRequest, "/items")
	if err := batch(caller, "default", 257); !strings.Contains(err.Error(), "257") || !strings.Contains(err.Error(), "256") {
		t.Errorf("the limit must be named: %v", err)
	}
	expect(t, "none", batch(caller, "default", 0), v1.BadRequest, "/items")
	expect(t, "a stranger", batch(policy.Caller{UID: 7}, "default", 257), v1.NotGranted, "")
	expect(t, "a reader", batch(policy.Caller{UID: 8}, "default", 1), v1.NotGranted, "")
	expect(t, "a stranger, no such keyset", batch(policy.Caller{UID: 7}, "absent", 1), v1.NotGranted, "")
	expect(t, "nobody", batch(policy.Caller{UID: 65534}, "default", 1), v1.NotGranted, "")
	expect(t, "endless name", batch(caller, strings.Repeat("n", 10_000), 1), v1.BadRequest, "")
	for _, r := range w.Audit.Records() {
		if r.Operation != "batch" || r.Outcome != audit.Refused {
			t.Errorf("audited as %+v", r)
		}
	}
	if n := w.Keys[keyspec.P256].Calls.Load(); n != 0 || len(w.Audit.Records()) != 8 {
		t.Errorf("%d signatures, %d lines", n, len(w.Audit.Records()))
	}
	if err := batch(caller, "default", 256); err != nil {
		t.Error(err)
	}
	if n := w.Keys[keyspec.P256].Calls.Load(); n != 256 || len(w.Audit.Records()) != 8+256 {
		t.Errorf("%d signatures, %d lines", n, len(w.Audit.Records()))
	}
	// The door asks before it reads.
	if err := w.Service.Admit(t.Context(), caller, signing.OpBatch, "default"); err != nil {
		t.Error(err)
	}
	expect(t, "admit", w.Service.Admit(t.Context(), policy.Caller{UID: 7}, signing.OpBatch, "default"), v1.NotGranted, "")
}

// An item's panic, its failed audit line or its rights are its own.
func TestBatchItemsFailAlone(t *testing.T) {
	w := signingtest.New(t, rule(jose.ES256, jose.ES384))
	w.Keys[keyspec.P384].Hook(func(context.Context) { panic("a fault") })
	items := []v1.BatchItem{
		{JWT: &v1.JWTRequest{Claims: claims(""), Alg: "ES256"}},
		{JWT: &v1.JWTRequest{Claims: claims(""), Alg: "ES384"}},
		{JWT: &v1.JWTRequest{Claims: claims(""), Alg: "RS256"}},
		{Sign: &v1.SignRequest{Payload: new("")}},
		{ClientAssertion: assertionRequest("")},
	}
	reply, err := w.Service.Batch(t.Context(), caller, "default", &v1.BatchRequest{Items: items})
	if err != nil {
		t.Fatal(err)
	}
	want := []v1.Reason{"", v1.Internal, v1.NotGranted, v1.NotGranted, v1.NotGranted}
	for i, r := range reply.Items {
		if want[i] == "" && (r.Error != nil || r.JWT == nil) || want[i] != "" && (r.Error == nil || r.Error.Reason != want[i] || r.JWT != nil) {
			t.Errorf("item %d: %+v, want %q", i, r, want[i])
		}
	}
	outcomes := map[string]int{}
	for _, r := range w.Audit.Records() {
		outcomes[fmt.Sprint(r.Operation, " ", r.Outcome, " ", r.Reason)]++
	}
	if got := fmt.Sprint(outcomes); got != "map[client-assertion refused not_granted:1 jwt failed internal:1 jwt granted :1 jwt refused not_granted:1 sign refused not_granted:1]" {
		t.Errorf("audited %s", got)
	}

	w.Audit.Fail(errors.New("disk full"))
	reply, err = w.Service.Batch(t.Context(), caller, "default", &v1.BatchRequest{Items: items[:1]})
	if err != nil || reply.Items[0].JWT != nil || reply.Items[0].Error == nil || reply.Items[0].Error.Reason != v1.AuditFailed {
		t.Errorf("without its line: %+v, %v", reply, err)
	}
}

// Items run beside each other, at most 16 at once, and each by the state of its own beginning.
func TestBatchIsBoundedAndCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signingtest.New(t, signingtest.All(uid))
		var now, most atomic.Int64
		w.Keys[keyspec.P256].Hook(func(context.Context) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(time.Second) // of the bubble's clock: until all that may run do
			now.Add(-1)
		})
		go func() {
			time.Sleep(1500 * time.Millisecond)
			w.Service.Swap(w.State(t)) // nobody is granted anything any more
		}()
		exp := fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(time.Minute).Unix())
		reply, err := w.Service.Batch(t.Context(), caller, "default", &v1.BatchRequest{
			Items: slices.Repeat([]v1.BatchItem{{JWT: &v1.JWTRequest{Claims: exp}}}, 100),
		})
		if err != nil {
			t.Fatal(err)
		}
		signed := 0
		for i, r := range reply.Items {
			if r.JWT != nil {
				signed++
			} else if r.Error.Reason != v1.NotGranted {
				t.Errorf("item %d: %v", i, r.Error)
			}
		}
		if most.Load() != 16 || signed != 32 {
			t.Errorf("%d at once, %d signed; want 16 and 32", most.Load(), signed)
		}
	})
}
