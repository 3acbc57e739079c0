package signing_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// checkNotReady checks that a caller is told to ask again.
func checkNotReady(t *testing.T, name string, err error) {
	t.Helper()
	expect(t, name, err, v1.NotReady, "")
	if e, ok := errors.AsType[*v1.Error](err); !ok || e.RetryAfterMillis != 1000 {
		t.Errorf("%s: %+v", name, e)
	}
}

// What no proven key opens may be for one that is not proven yet: it can be asked for again. Whatever is
// wrong with it, the answer is that.
func TestMessageForAKeyNotProvenYet(t *testing.T) {
	for name, test := range map[string]struct {
		unproven int  // of k0, active, to k5
		asked    bool // before the proven ones are enough
	}{"retired": {2, true}, "active": {0, true}, "the fifth": {4, false}} {
		w := signingtest.New(t)
		ks, keys := house(t, w, 5)
		keys[test.unproven].Unsupport(0)
		ks.Decrypters = append(ks.Decrypters, signing.DecryptKey{KID: "r", Spec: keyspec.RSA2048, Key: w.EncKeys[keyspec.RSA2048]})
		w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, granted(quick)))
		proven := 1
		good := sealed(t, keys[proven].Public(), "", jose.ECDH_ES, jose.A128GCM)
		decrypt := func(req *v1.DecryptRequest) (*v1.DecryptReply, error) {
			return w.Service.Decrypt(t.Context(), caller, "enc", req)
		}
		if reply, err := decrypt(&v1.DecryptRequest{JWE: good}); err != nil || reply.KID != "k1" {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
		fails := []string{sealed(t, keys[test.unproven].Public(), "", jose.ECDH_ES, jose.A128GCM), flipped(t, good, 4)}
		for _, message := range fails {
			_, err := decrypt(&v1.DecryptRequest{JWE: message})
			if test.asked {
				checkNotReady(t, name, err)
			} else {
				expect(t, name, err, v1.DecryptionFailed, "")
			}
		}
		// One that is proven for something is known for all.
		_, err := decrypt(&v1.DecryptRequest{JWE: flipped(t, sealed(t, w.EncKeys[keyspec.RSA2048].Public(), "", jose.RSA_OAEP, jose.A128GCM), 4)})
		expect(t, name+", RSA", err, v1.DecryptionFailed, "")
		_, err = decrypt(&v1.DecryptRequest{JWE: sealed(t, keys[test.unproven].Public(), "k"+string(rune('0'+test.unproven)), jose.ECDH_ES, jose.A128GCM)})
		checkNotReady(t, name+", named", err)
		// A key comes from the newest, or not at all.
		reply, err := decrypt(keyForm(t, good))
		if test.unproven == 0 {
			checkNotReady(t, name+", the key", err)
		} else if err != nil || reply.KID != "k0" {
			t.Errorf("%s, the key: %+v, %v", name, reply, err)
		}
		if n := keys[test.unproven].Calls.Load(); n != 0 {
			t.Errorf("%s: a key that is not proven was used %d times", name, n)
		}
	}
}

// Where the only keys for an algorithm are not proven yet, nothing is tried.
func TestNoKeyProvenYetForAlgorithm(t *testing.T) {
	w := signingtest.New(t, granted(quick))
	w.EncKeys[keyspec.P256].Unsupport(0)
	w.Service.Swap(w.State(t, granted(quick)))
	_, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: sealed(t, w.EncKeys[keyspec.P256].Public(), "", jose.ECDH_ES, jose.A128GCM)})
	checkNotReady(t, "other keys are proven", err)
	ks := signing.Keyset{Name: "enc", Purpose: signing.PurposeEnc, Decrypters: []signing.DecryptKey{{KID: "e", Spec: keyspec.P256, Key: w.EncKeys[keyspec.P256], Active: true}}}
	w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, granted(quick)))
	_, err = w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: sealed(t, w.EncKeys[keyspec.P256].Public(), "", jose.ECDH_ES, jose.A128GCM)})
	checkNotReady(t, "none is", err)
}

// A message that names no key counts in the rate as often as keys are tried for it, before any is; one for a
// burst that is smaller is not refused for ever.
func TestEveryTryCounts(t *testing.T) {
	for burst, want := range map[int][]bool{9: {true, true, false}, 4: {true, false}, 1: {true, false}} {
		w := signingtest.New(t)
		ks, keys := house(t, w, 5)
		now := time.Now()
		w.Service.Now = func() time.Time { return now }
		w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, granted(func(r *policy.Rule) { r.Rate, r.Burst = 1, burst })))
		req := &v1.DecryptRequest{JWE: sealed(t, keys[5].Public(), "", jose.ECDH_ES, jose.A128GCM)}
		var got []bool
		var err error
		for range want {
			_, err = w.Service.Decrypt(t.Context(), caller, "enc", req)
			e, _ := errors.AsType[*v1.Error](err)
			got = append(got, e.Reason == v1.DecryptionFailed)
		}
		if !slices.Equal(got, want) {
			t.Errorf("burst %d: tried %v, want %v", burst, got, want)
		}
		expect(t, "over the rate", err, v1.RateLimited, "")
		named := &v1.DecryptRequest{JWE: sealed(t, keys[5].Public(), "k5", jose.ECDH_ES, jose.A128GCM)}
		if _, err := w.Service.Decrypt(t.Context(), caller, "enc", named); (err == nil) != (burst == 9) { // of 9, 8 are spent
			t.Errorf("burst %d: one that names its key: %v", burst, err)
		}
	}
}
