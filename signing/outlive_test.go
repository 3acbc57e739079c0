package signing_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// longLived is a World whose keyset "any" guarantees ten minutes of an hour, at a clock that stands.
type longLived struct {
	*signingtest.World
	now   time.Time
	asked []string // what Outlive was asked for
	err   error    // what it returns
}

func newLongLived(t *testing.T) *longLived {
	l := &longLived{World: signingtest.New(t, signingtest.All(uid)), now: time.Unix(1_800_000_000, 400_000_000)}
	l.Service.Now = func() time.Time { return l.now }
	keysets := l.Keysets()
	ks := &keysets[2]
	ks.Guaranteed = 10 * time.Minute
	for i := range ks.Active {
		ks.Active[i].Generation = 10 + i
	}
	ks.Outlive = func(_ context.Context, generation int, exp time.Time) error {
		signed := int64(0)
		for _, k := range l.Keys {
			signed += k.Calls.Load()
		}
		l.asked = append(l.asked, fmt.Sprint(generation, " ", exp.Unix(), " ", signed))
		return l.err
	}
	l.Service.Swap(l.StateOf(t, keysets, signingtest.All(uid)))
	return l
}

func expiring(exp int64) jsontext.Value { return jsontext.Value(fmt.Sprintf(`{"exp":%d}`, exp)) }

// A token that lives longer than its key surely stays published is signed after that was mended, and
// not before (invariant 2).
func TestOutlive(t *testing.T) {
	l := newLongLived(t)
	sign := func(alg string, exp int64, input bool) error {
		req := &v1.JWTRequest{Claims: expiring(exp), Alg: alg}
		if input {
			header := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"kid":%q}`, alg, l.KIDs[keyspec.P256]))
			req = &v1.JWTRequest{SigningInput: header + "." + base64.RawURLEncoding.EncodeToString(expiring(exp))}
		}
		_, err := l.Service.SignJWT(t.Context(), caller, "any", req)
		return err
	}
	const guaranteed = 1_800_000_600 // the clock's fraction of a second is the token's loss
	for _, c := range []struct {
		alg   string
		exp   int64
		input bool
		asked []string
	}{
		{"ES256", guaranteed, false, nil},
		{"ES256", guaranteed, true, nil},
		{"ES256", guaranteed + 1, false, []string{"11 1800000601 2"}},
		{"RS384", guaranteed + 1, false, []string{"10 1800000601 3"}},
		{"ES256", 1_800_003_600, true, []string{"11 1800003600 4"}},
	} {
		l.asked = nil
		if err := sign(c.alg, c.exp, c.input); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if !reflect.DeepEqual(l.asked, c.asked) {
			t.Errorf("exp %d: asked for %q, want %q", c.exp, l.asked, c.asked)
		}
	}
	l.asked = nil
	expect(t, "beyond the lifetime", sign("ES256", 1_800_003_601, false), v1.LifetimeTooLong, "/claims/exp")
	if _, err := l.Service.Sign(t.Context(), caller, "any", &v1.SignRequest{Payload: new(""), Alg: "ES256"}); err != nil || l.asked != nil {
		t.Errorf("a payload has no exp: %v, %v", err, l.asked)
	}
}

func TestOutliveFails(t *testing.T) {
	for _, c := range []struct {
		err    error
		reason v1.Reason
	}{
		{rotation.ErrNotLive, v1.KidNotActive},
		{context.DeadlineExceeded, v1.DeadlineExceeded},
		{context.Canceled, v1.DeadlineExceeded},
		{errors.New("disk full at /var/lib/secret"), v1.Internal},
	} {
		l := newLongLived(t)
		l.err = fmt.Errorf("watermark: %w", c.err)
		_, err := l.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: expiring(1_800_000_601), Alg: "ES256"})
		expect(t, c.err.Error(), err, c.reason, "")
		if !errors.Is(err, c.err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: told %v", c.err, err)
		}
		if n := l.Keys[keyspec.P256].Calls.Load(); n != 0 {
			t.Errorf("%v: signed %d times all the same", c.err, n)
		}
		if _, err := l.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: expiring(1_800_000_600), Alg: "ES256"}); err != nil {
			t.Errorf("%v: a token that needs no watermark: %v", c.err, err)
		}
	}
}

// What exp is judged by is the time at which the request began, which is before the swap that retired
// its key: else a token could outlive the key by the time that the request took.
func TestExpCountsFromTheBeginning(t *testing.T) {
	l := newLongLived(t)
	const ticks = 100
	var read []time.Time
	l.Service.Now = func() time.Time {
		now := l.now.Add(time.Duration(len(read)) * ticks * time.Second)
		read = append(read, now)
		return now
	}
	_, err := l.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: expiring(1_800_003_601), Alg: "ES256"})
	expect(t, "an hour and a second after the beginning", err, v1.LifetimeTooLong, "/claims/exp")
	l.now, read = time.Unix(1_800_000_000, 0), nil
	_, err = l.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: expiring(1_800_000_601), Alg: "ES256"})
	if err != nil || len(l.asked) != 1 {
		t.Errorf("ten minutes and a second after the beginning: %v, asked for %v", err, l.asked)
	}
	if r := l.Audit.Last(); !r.Time.Equal(read[0]) {
		t.Errorf("audited at %v, began at %v", r.Time, read[0])
	}
}

// The clock is read before the state is loaded: a swap between the two counts for the request.
func TestClockBeforeState(t *testing.T) {
	l := newLongLived(t)
	swap := true
	l.Service.Now = func() time.Time {
		if swap {
			l.Service.Swap(l.StateOf(t, nil, signingtest.All(uid)))
		}
		swap = false
		return l.now
	}
	_, err := l.Service.SignJWT(t.Context(), caller, "any", &v1.JWTRequest{Claims: expiring(1_800_000_600), Alg: "ES256"})
	expect(t, "swapped while the clock was read", err, v1.KeysetUnknown, "")
}

// An assertion's key stays published as a token's does; and what the policy refuses leaves nothing
// behind.
func TestOutliveOfAssertions(t *testing.T) {
	l := newLongLived(t)
	keysets := l.Keysets()
	keysets[2].Guaranteed, keysets[2].Outlive = 30*time.Second, func(_ context.Context, _ int, exp time.Time) error {
		l.asked = append(l.asked, fmt.Sprint(exp.Unix()))
		return l.err
	}
	l.Service.Swap(l.StateOf(t, keysets, limited(func(r *policy.Rule) { r.ClientIDs = []string{"a"} })))
	ask := func(client, lifetime string) error {
		_, err := l.Service.SignClientAssertion(t.Context(), caller, "any", &v1.ClientAssertionRequest{ClientID: client, Audience: "x", Alg: "ES256", Lifetime: lifetime})
		return err
	}
	if err := ask("a", "30s"); err != nil || l.asked != nil {
		t.Errorf("as long as is guaranteed: %v, %v", err, l.asked)
	}
	expect(t, "another client", ask("b", "60s"), v1.NotGranted, "")
	if l.asked != nil {
		t.Errorf("put down for what is refused: %v", l.asked)
	}
	if err := ask("a", "60s"); err != nil || !slices.Equal(l.asked, []string{"1800000060"}) {
		t.Errorf("longer: %v, %v", err, l.asked)
	}
	l.err = errors.New("disk full")
	expect(t, "where it cannot be put down", ask("a", "60s"), v1.Internal, "")
}
