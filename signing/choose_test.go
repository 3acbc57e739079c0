package signing_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/signingtest"
)

// What is coming is refused with its date, and with the time until then.
func TestComing(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	now := time.Now().Truncate(time.Second)
	w.Service.Now = func() time.Time { return now }
	at := now.Add(90*time.Minute - 300*time.Millisecond)
	const retry = 90 * 60 * 1000                                 // to the whole second, as the date
	date := now.Add(90 * time.Minute).UTC().Format(time.RFC3339) // rounded up: at this second it can be had

	keysets := w.Keysets()[:1]
	ks := &keysets[0]
	all := ks.Active
	ks.Coming = map[jose.SignatureAlgorithm]time.Time{jose.RS256: at, jose.RS384: {}, jose.ES512: now.Add(-time.Hour), jose.ES256: at}
	ks.ComingKIDs = map[string]time.Time{"pending": at, "pending-RS384": {}}
	ks.Revoked = []string{"revoked"}
	type request struct{ alg, kid string }
	check := func(name string, r request, reason v1.Reason, field string, retry int64, says string) {
		t.Helper()
		_, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: claims(""), Alg: r.alg, KID: r.kid})
		expect(t, name, err, reason, field)
		e, ok := errors.AsType[*v1.Error](err)
		if ok && (e.RetryAfterMillis != retry || !strings.Contains(e.Detail, says) || says == "" && strings.Contains(e.Detail, "ask again")) {
			t.Errorf("%s: told %+v", name, e)
		}
	}

	ks.Active = all[1:3] // P-256 and P-384
	w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
	check("algorithm", request{"RS256", ""}, v1.AlgorithmUnavailable, "/alg", retry, "ask again from "+date+" on")
	check("algorithm, date unknown", request{"RS384", ""}, v1.AlgorithmUnavailable, "/alg", 0, "not known yet")
	check("algorithm, overdue", request{"ES512", ""}, v1.AlgorithmUnavailable, "/alg", 1000, "ask again from ")
	check("algorithm that does not come", request{"PS256", ""}, v1.AlgorithmUnavailable, "/alg", 0, "")
	check("kid", request{"", "pending"}, v1.KidNotActive, "/kid", retry, "ask again from "+date+" on")
	check("kid and algorithm", request{"ES256", "pending"}, v1.KidNotActive, "/kid", retry, "ask again from "+date+" on")
	check("kid, date unknown", request{"", "pending-RS384"}, v1.KidNotActive, "/kid", 0, "not known yet")
	check("kid of nobody", request{"", "nobody"}, v1.KidNotActive, "/kid", 0, "")
	check("kid revoked", request{"", "revoked"}, v1.KidNotActive, "/kid", 0, "was revoked")
	for _, r := range []request{{"", ""}, {"ES256", ""}, {"ES384", ""}} { // what is there is had, whatever comes
		if _, err := w.Service.SignJWT(t.Context(), caller, "default", &v1.JWTRequest{Claims: claims(""), Alg: r.alg}); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}

	ks.Active = nil
	w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
	check("not ready", request{"", ""}, v1.NotReady, "", retry, "ask again from "+date+" on") // of the default, ES256
	check("not ready for this", request{"RS256", ""}, v1.NotReady, "", retry, "ask again from "+date+" on")
	check("not ready, earliest", request{"PS256", ""}, v1.NotReady, "", 1000, "ask again from ")
	check("not ready, kid", request{"", "pending"}, v1.KidNotActive, "/kid", retry, "ask again from "+date+" on")
	check("not ready, kid revoked", request{"", "revoked"}, v1.KidNotActive, "/kid", 0, "was revoked")
	check("not ready, kid of nobody", request{"", "nobody"}, v1.NotReady, "", retry, "ask again from "+date+" on")

	ks.Coming, ks.ComingKIDs, ks.Active = nil, map[string]time.Time{"a": {}, "b": at, "c": at.Add(1)}, nil
	w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
	check("not ready, by kids", request{"", ""}, v1.NotReady, "", retry, "ask again from "+date+" on")
	ks.ComingKIDs = map[string]time.Time{"a": {}}
	w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
	check("not ready, date unknown", request{"", ""}, v1.NotReady, "", 0, "")
	check("not ready, whose", request{"", ""}, v1.NotReady, "", 0, "`keysetctl status default` tells why")
}

func TestRelationsChecked(t *testing.T) {
	w := signingtest.New(t)
	for name, ks := range map[string]signing.Keyset{
		"no watermark": {Purpose: signing.PurposeJWT, MaxTokenLifetime: time.Hour, Guaranteed: time.Hour - 1},
		"negative":     {Purpose: signing.PurposeAny, MaxTokenLifetime: time.Hour, Guaranteed: -1},
	} {
		ks.Name = "a"
		if _, err := signing.NewState(nil, []signing.Keyset{ks}, w.Metrics); err == nil || !strings.Contains(err.Error(), "keyset a: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, ks := range map[string]signing.Keyset{
		"guaranteed longer": {Name: "a", Purpose: signing.PurposeJWT, MaxTokenLifetime: time.Hour, Guaranteed: 2 * time.Hour},
		"raw has no exp":    {Name: "a", Purpose: signing.PurposeRaw, MaxTokenLifetime: time.Hour, Guaranteed: 1},
		"no handle needed of the dead": {Name: "a", Purpose: signing.PurposeRaw, Revoked: []string{"k"},
			Active: []signing.ActiveKey{{KID: "k", Spec: keyspec.P256}}},
	} {
		if _, err := signing.NewState(nil, []signing.Keyset{ks}, w.Metrics); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
