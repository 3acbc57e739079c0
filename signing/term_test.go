package signing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Older states are drained when the last request that uses one of them is answered.
func TestDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signingtest.New(t, signingtest.All(uid))
		next := func() <-chan struct{} { return w.Service.Swap(w.State(t, signingtest.All(uid))) }
		if !closed(next()) {
			t.Error("a state that nobody ever used is not drained")
		}
		first, second := make(chan struct{}), make(chan struct{})
		signing := func(keyset string, spec keyspec.Spec, answer chan struct{}) {
			w.Keys[spec].Hook(func(context.Context) { <-answer })
			go func() {
				if _, err := w.Service.Sign(t.Context(), caller, "raw", &v1.SignRequest{Payload: new(""), KID: w.KIDs[spec]}); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		signing("raw", keyspec.P256, first)
		one := next()
		signing("raw", keyspec.P384, second)
		two := next()
		three := next()
		close(second)
		synctest.Wait()
		for i, c := range []<-chan struct{}{one, two, three} {
			if closed(c) {
				t.Errorf("swap %d says that older states are drained while a request uses the first", i+1)
			}
		}
		close(first)
		synctest.Wait()
		for i, c := range []<-chan struct{}{one, two, three} {
			if !closed(c) {
				t.Errorf("swap %d does not say that older states are drained", i+1)
			}
		}
	})
}

// Whatever a request comes to, it leaves the state that it began with; and while an operator's
// act is done, it has left already, for the act may wait until older states are drained.
func TestEveryRequestLeaves(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	s, ctx := w.Service, t.Context()
	jwt := func(c policy.Caller, keyset string) {
		s.SignJWT(ctx, c, keyset, &v1.JWTRequest{Claims: claims("")})
		s.Sign(ctx, c, keyset, &v1.SignRequest{Payload: new("")})
		s.Keyset(ctx, c, keyset)
		s.Keysets(ctx, c)
		s.Admit(ctx, c, policy.JWT, keyset)
		s.Refuse(ctx, c, policy.JWT, keyset, &v1.Error{Reason: v1.BadRequest})
		s.PINRetry(ctx, c, "main")
		s.Accept(ctx, c, "main", new(v1.AcceptRequest))
		for _, act := range operatorsActs(ctx, s, c, keyset) {
			act()
		}
	}
	wait := func(what string) {
		t.Helper()
		select {
		case <-s.Swap(w.State(t, signingtest.All(uid))):
		case <-time.After(10 * time.Second):
			t.Errorf("%s: a request has not left", what)
		}
	}
	w.Operator.Hook = func(context.Context) { wait("an act under way") }
	for what, c := range map[string]policy.Caller{"granted": caller, "not granted": {UID: 7}} {
		for _, keyset := range []string{"default", "absent", strings.Repeat("x", 100)} {
			jwt(c, keyset)
			wait(what)
		}
	}
	w.Audit.Fail(errors.New("disk full"))
	jwt(caller, "default")
	wait("not audited")
	w.Audit.Fail(nil)

	w.Keys[keyspec.P256].Hook(func(context.Context) { panic("token") })
	jwt(caller, "default")
	s.Sign(ctx, caller, "raw", &v1.SignRequest{Payload: new(""), Alg: "ES256"})
	w.Operator.Hook = func(context.Context) { panic("operator") }
	s.Thaw(ctx, caller, "default", new(v1.ThawRequest))
	wait("after a panic")
}

// revoking returns the World's keysets with the key of a spec revoked in all of them.
func revoking(w *signingtest.World, spec keyspec.Spec) []signing.Keyset {
	keysets := w.Keysets()
	for i := range keysets {
		keysets[i].Revoked = []string{"another", w.KIDs[spec], w.KIDs[spec] + "-RS384"}
	}
	return keysets
}

// A key that is revoked while it signs has signed in vain.
func TestRevokedWhileSigning(t *testing.T) {
	for name, c := range map[string]struct {
		keyset, alg string
		spec        keyspec.Spec
		raw         bool
	}{
		"claims":           {"default", "ES256", keyspec.P256, false},
		"a kid of its own": {"any", "RS384", keyspec.RSA2048, false},
		"payload":          {"raw", "ES256", keyspec.P256, true},
	} {
		for _, revoked := range []bool{true, false} { // else swapped only, or another key revoked
			w := signingtest.New(t, signingtest.All(uid))
			w.Keys[c.spec].Hook(func(context.Context) {
				keysets := w.Keysets()
				if revoked {
					keysets = revoking(w, c.spec)
				}
				w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
			})
			sign := func() (released bool, err error) {
				if c.raw {
					reply, err := w.Service.Sign(t.Context(), caller, c.keyset, &v1.SignRequest{Payload: new(""), Alg: c.alg})
					return reply != nil, err
				}
				reply, err := w.Service.SignJWT(t.Context(), caller, c.keyset, &v1.JWTRequest{Claims: claims(""), Alg: c.alg})
				return reply != nil, err
			}
			released, err := sign()
			if !revoked {
				if err != nil {
					t.Errorf("%s, not revoked: %v", name, err)
				}
				continue
			}
			if expect(t, name, err, v1.KidNotActive, ""); released || !strings.Contains(err.Error(), "was revoked") {
				t.Errorf("%s: released %v, %v", name, released, err)
			}
			if r := w.Audit.Last(); r.Outcome != audit.Failed || len(r.Digest) != 32 || r.Reason != "kid_not_active" || !strings.HasPrefix(r.KID, w.KIDs[c.spec]) || len(w.Audit.Records()) != 1 {
				t.Errorf("%s: audited as %+v", name, w.Audit.Records())
			}
		}
	}
}

// A revoked key does not sign even where it is given as active (invariant 6).
func TestRevokedStaysDead(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	w.Service.Swap(w.StateOf(t, revoking(w, keyspec.RSA2048), signingtest.All(uid)))
	kid := w.KIDs[keyspec.RSA2048]
	for _, c := range []struct {
		alg, kid string
		reason   v1.Reason
		field    string
	}{
		{"RS256", "", v1.AlgorithmUnavailable, "/alg"},
		{"RS384", "", v1.AlgorithmUnavailable, "/alg"},
		{"", kid, v1.KidNotActive, "/kid"},
		{"RS256", kid, v1.KidNotActive, "/kid"},
		{"ES256", kid, v1.KidNotActive, "/kid"},
		{"RS384", kid + "-RS384", v1.KidNotActive, "/kid"},
	} {
		_, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: claims(""), Alg: c.alg, KID: c.kid})
		expect(t, c.alg+" "+c.kid, err, c.reason, c.field)
		if c.kid != "" && !strings.Contains(err.Error(), "was revoked") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if n := w.Keys[keyspec.RSA2048].Calls.Load(); n != 0 {
		t.Errorf("the key was asked to sign %d times", n)
	}
	ks, err := w.Service.Keyset(t.Context(), caller, "any")
	if err != nil || len(ks.Algorithms) != 4 {
		t.Errorf("%+v, %v", ks, err)
	}

	// An entry for an algorithm that was revoked by itself takes that algorithm along, and no other.
	keysets := w.Keysets()
	keysets[2].Revoked = []string{kid + "-RS384"}
	w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
	for alg, want := range map[string]v1.Reason{"RS384": v1.AlgorithmUnavailable, "RS256": ""} {
		_, err := w.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: claims(""), Alg: alg})
		if e, _ := errors.AsType[*v1.Error](err); want == "" && err != nil || want != "" && (e == nil || e.Reason != want) {
			t.Errorf("%s: %v", alg, err)
		}
	}
}
