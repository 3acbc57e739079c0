package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// TestOneCannotBeShown: a keyset that cannot be shown falls back to what can, and all others
// are shown: what is revoked in them is gone.
func TestOneCannotBeShown(t *testing.T) {
	const p, a = rotation.Pending, rotation.Active
	for name, c := range map[string]struct {
		spoil func(*stage, *rotation.Keyset)
		page  []string // nil: there is none
		says  string
	}{
		"a chain that is none": {func(_ *stage, k *rotation.Keyset) { k.Document.Generations[0].Keys[0].Chain = [][]byte{{1}} },
			[]string{"one//sig", "next//sig"}, "without certificates: making the JWKS entry"},
		"a key that was revoked is still among the others": {func(_ *stage, k *rotation.Keyset) {
			k.Document.Generations[0].Keys[0].Chain = [][]byte{{1}}
			k.Document.Revoked = []rotation.Revocation{{KID: "next", Spec: keyspec.RSA2048}}
		}, []string{"one//sig"}, "without certificates"},
		"max-age 0": {func(_ *stage, k *rotation.Keyset) { k.Document.Served.MaxAge = 0 },
			[]string{"one//sig", "next//sig"}, "max-age 0s"},
		"no handle of a key": {func(s *stage, _ *rotation.Keyset) {
			key := s.publisher.key
			s.publisher.key = func(k rotation.Key) (tokenKey, error) {
				if k.KID == "one" {
					return nil, errors.New("no such token")
				}
				return key(k)
			}
		}, []string{"one//sig", "next//sig"}, "key one: no such token"},
		"a key spec that nobody knows": {func(_ *stage, k *rotation.Keyset) { k.Signing[0].Spec = "p-1" },
			[]string{"one//sig", "next//sig"}, `no algorithm is known for key spec "p-1"`},
		"a kid that stands twice": {func(s *stage, k *rotation.Keyset) {
			k.Document.Generations = append(k.Document.Generations, s.generation(3, p, "one:p-256"))
		}, nil, `has no page: making the JWKS: kid "one" would stand in it twice`},
		"a key that cannot be read": {func(_ *stage, k *rotation.Keyset) { k.Document.Generations[1].Keys[0].Public = []byte("?") },
			nil, "has no page: generation 2, key next in the store"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, signingKeyset+another)
			var logged bytes.Buffer
			s.log = slog.New(slog.NewTextHandler(&logged, nil))
			mine := func() *rotation.Keyset {
				return s.view(rotation.Document{Last: 2, Generations: []rotation.Generation{s.generation(1, a, "one:rsa-2048"), s.generation(2, p, "next:rsa-2048")}})
			}
			other := func(kids ...string) *rotation.Keyset {
				k := *s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, a, kids...)}})
				k.Name, k.Policy = "other", s.cfg.Keysets["other"].Policy("other")
				return &k
			}
			if err := s.publish(snapshot(mine(), other("a:p-256", "b:p-256"))); err != nil || !s.allShown() {
				t.Fatal(err)
			}
			key, bad := s.publisher.key, mine()
			bad.Signing = slices.Clone(bad.Signing)
			bad.Problem = "rotation has a word, too"
			c.spoil(s, bad)
			for range 2 {
				if err := s.publish(snapshot(bad, other("b:p-256"))); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.again(); err != nil {
				t.Fatal(err)
			}
			if got, cache := s.page("ks"); !slices.Equal(got, c.page) || (got == nil) != (c.page == nil) || strings.Contains(cache, "max-age=0") {
				t.Errorf("on its page are %q, %s; want %q", got, cache, c.page)
			}
			if got, _ := s.page("other"); !slices.Equal(got, []string{"b/ES256/sig"}) {
				t.Errorf("on the page of the other one are %q: what was revoked there is to be gone", got)
			}
			if got := s.sign("RS256", "", time.Minute); !strings.Contains(got, " ") {
				t.Errorf("%s signed", got)
			}
			status := s.status()
			if status.Ready || !strings.Contains(status.Problem, c.says) || !strings.HasSuffix(status.Problem, "; "+bad.Problem) || len(status.Generations) < 2 {
				t.Errorf("its status is %+v, want a problem with %q", status, c.says)
			}
			if s.allShown() {
				t.Error("all is shown, it says")
			}
			if n := strings.Count(logged.String(), "level=ERROR"); n != 1 || !strings.Contains(logged.String(), "keyset=ks") {
				t.Errorf("logged %d times:\n%s", n, &logged)
			}
			// Another configuration does not make it worse.
			if err := s.publishWith(s.cfg, s.rights)(snapshot(bad, other("b:p-256"))); err != nil {
				t.Errorf("a reload with a keyset that is not shown now either: %v", err)
			}

			s.publisher.key = key
			if err := s.publish(snapshot(mine(), other("b:p-256"))); err != nil {
				t.Fatal(err)
			}
			if got := s.sign("RS256", "", time.Minute); got != "one" || s.status().Problem != "" || !s.allShown() {
				t.Errorf("mended it signs with %q, and says %q", got, s.status().Problem)
			}
		})
	}
}

// TestFallenTriesAgain: what keeps a keyset from being shown may be over without a change of it.
func TestFallenTriesAgain(t *testing.T) {
	s := newStage(t, signingKeyset)
	key := s.publisher.key
	s.publisher.key = func(rotation.Key) (tokenKey, error) { return nil, errors.New("no such token") }
	k := s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, "one:rsa-2048")}})
	if err := s.publish(snapshot(k)); err != nil || s.status().Ready {
		t.Fatalf("ready without a handle, %v", err)
	}
	s.publisher.key = key
	if err := s.again(); err != nil {
		t.Fatal(err)
	}
	if got := s.sign("RS256", "", time.Minute); got != "one" {
		t.Error(got)
	}
}

// TestReloadRefusesWhatCannotBeShown: the operator is told that it is the configuration.
func TestReloadRefusesWhatCannotBeShown(t *testing.T) {
	s := newReloadStage(t)
	k := s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, "one:rsa-2048")}})
	k.Document.Served.MaxAge = 0
	s.manager.snapshot = snapshot(k)
	before := s.config()
	_, err := s.reload(v1.ReloadRequest{})
	if e, ok := errors.AsType[*v1.Error](err); !ok || e.Reason != v1.BadConfiguration || !strings.Contains(e.Detail, "keyset ks could not be shown: ") {
		t.Errorf("got %v", err)
	}
	if s.config() != before {
		t.Error("it is in force")
	}
}
