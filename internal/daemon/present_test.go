package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// TestPresent holds both sides of each kind of keyset against each other.
func TestPresent(t *testing.T) {
	soon := time.Now().Add(11 * time.Hour).UTC().Truncate(time.Minute)
	const p, a, r = rotation.Pending, rotation.Active, rotation.Retired
	pipe := func(s *stage) rotation.Document {
		return rotation.Document{Last: 3, StaleUntil: soon, Generations: []rotation.Generation{
			s.generation(1, r, "one:rsa-2048"), s.generation(2, a, "two:rsa-2048"), s.generation(3, p, "three:rsa-2048")}}
	}
	revoked := rotation.Revocation{KID: "zero", Spec: keyspec.RSA2048, At: soon, By: "uid 1", Why: "leaked", Kept: true}
	for name, c := range map[string]struct {
		keysets string
		doc     func(*stage) rotation.Document
		page    []string // nil: there is none
		mode    string
		ready   bool
		signs   map[string]string // by "ALG KID": the kid of what signs, or a part of the error
		coming  []string
	}{
		"dynamic": {
			signingKeyset, pipe, []string{"two//sig", "three//sig", "one//sig"}, "dynamic", true,
			map[string]string{"RS256 ": "two", "RS256 three": "does not sign yet", "RS256 one": "does not sign, or no longer", "ES256 ": "no active key"}, nil,
		},
		"a key spec is added": {
			twoSpecs, func(s *stage) rotation.Document {
				d := pipe(s)
				d.Generations = append(d.Generations[:2:2], s.generation(4, p, "four:rsa-2048", "curve:p-256"))
				d.Last, d.Generations[2].UsableFrom = 4, soon
				return d
			}, []string{"two//sig", "four//sig", "curve/ES256/sig", "one//sig"}, "dynamic", true,
			map[string]string{"RS256 ": "two", "ES256 ": "yet; it has RS256, RS384, RS512, PS256, PS384, PS512; ask again from 20", "ES256 curve": "does not sign yet; ask again from 20"}, []string{"ES256"},
		},
		"an algorithm's own kid is pending": {
			withAlias, func(s *stage) rotation.Document {
				d := pipe(s)
				d.Entries = []rotation.Entry{{Algorithm: jose.RS384, State: p, Published: time.Now(), UsableFrom: soon}}
				return d
			}, []string{"two//sig", "two-RS384/RS384/sig", "three//sig", "three-RS384/RS384/sig", "one//sig", "one-RS384/RS384/sig"}, "dynamic", true,
			map[string]string{"RS384 ": "two", "RS384 two-RS384": "does not sign yet; ask again from ", "RS384 three-RS384": "does not sign yet"}, []string{"RS384"},
		},
		"an algorithm's own kid is active": {
			withAlias, func(s *stage) rotation.Document {
				d := pipe(s)
				d.Entries = []rotation.Entry{{Algorithm: jose.RS384, State: a}}
				return d
			}, []string{"two//sig", "two-RS384/RS384/sig", "three//sig", "three-RS384/RS384/sig", "one//sig", "one-RS384/RS384/sig"}, "dynamic", true,
			map[string]string{"RS256 ": "two", "RS384 ": "two-RS384", "RS384 three-RS384": "does not sign yet"}, nil,
		},
		"an algorithm's own kid is retired": {
			signingKeyset, func(s *stage) rotation.Document {
				d := pipe(s)
				d.Entries = []rotation.Entry{{Algorithm: jose.RS384, State: r}}
				return d
			}, []string{"two//sig", "two-RS384/RS384/sig", "three//sig", "three-RS384/RS384/sig", "one//sig", "one-RS384/RS384/sig"}, "dynamic", true,
			map[string]string{"RS384 ": "two", "RS384 two-RS384": "does not sign, or no longer"}, nil,
		},
		"a key was revoked": {
			signingKeyset, func(s *stage) rotation.Document {
				d := pipe(s)
				d.Revoked = []rotation.Revocation{revoked}
				return d
			}, []string{"two//sig", "three//sig", "one//sig"}, "dynamic", true,
			map[string]string{"RS256 ": "two", "RS256 zero": "was revoked", "PS512 zero-PS512": "was revoked"}, nil,
		},
		"all keys were revoked": {
			signingKeyset, func(s *stage) rotation.Document {
				return rotation.Document{Last: 3, StaleUntil: soon, Revoked: []rotation.Revocation{revoked}}
			}, []string{}, "dynamic", false,
			map[string]string{"RS256 ": "not_ready", "RS256 zero": "was revoked"}, nil,
		},
		"no key was made yet": {
			signingKeyset, func(s *stage) rotation.Document { return rotation.Document{} }, nil, "dynamic", false,
			map[string]string{"RS256 ": "not_ready"}, nil,
		},
		"static": {
			staticKeyset, func(s *stage) rotation.Document {
				d := rotation.Document{Last: 2, StaleUntil: soon, Generations: []rotation.Generation{s.generation(1, a, "mine:rsa-2048"), s.generation(2, p, "mine:rsa-2048", "curve:p-256")}}
				d.Generations[0].Static, d.Generations[1].Static = true, true
				return d
			}, []string{"mine//sig", "curve/ES256/sig"}, "static", true,
			map[string]string{"RS256 ": "mine", "RS256 mine": "mine", "ES256 ": "no active key"}, nil,
		},
		"removed": {
			another, func(s *stage) rotation.Document {
				d := pipe(s)
				d.Removed = time.Now()
				for i := range d.Generations {
					d.Generations[i].State = r
				}
				return d
			}, []string{"one//sig", "two//sig", "three//sig"}, "removed", false,
			map[string]string{"RS256 ": "does not sign: it was removed"}, nil,
		},
		"vanished from the file": {
			another, pipe, []string{"two//sig", "three//sig", "one//sig"}, "dynamic", false,
			map[string]string{"RS256 ": "does not sign: it was removed"}, nil,
		},
		"for encryption": {
			encKeyset, func(s *stage) rotation.Document {
				return rotation.Document{Last: 3, StaleUntil: soon, Generations: []rotation.Generation{
					s.generation(1, r, "enc one:rsa-2048"), s.generation(2, a, "enc two:rsa-2048"), s.generation(3, p, "enc three:rsa-2048")}}
			}, []string{"two/RSA-OAEP/enc"}, "dynamic", true,
			map[string]string{"RS256 ": "purpose"}, nil,
		},
		"for encryption, with no key in use": {
			encKeyset, func(s *stage) rotation.Document {
				return rotation.Document{Last: 1, StaleUntil: soon, Generations: []rotation.Generation{s.generation(1, p, "enc one:rsa-2048")}}
			}, nil, "dynamic", false, nil, nil,
		},
		"for encryption, vanished": {
			another, func(s *stage) rotation.Document {
				return rotation.Document{Last: 2, StaleUntil: soon, Generations: []rotation.Generation{s.generation(1, a, "enc one:rsa-2048"), s.generation(2, p, "enc two:rsa-2048")}}
			}, []string{"one/RSA-OAEP/enc"}, "dynamic", false, nil, nil,
		},
		"for encryption, removed": {
			another, func(s *stage) rotation.Document {
				return rotation.Document{Last: 1, StaleUntil: soon, Removed: time.Now(), Generations: []rotation.Generation{s.generation(1, r, "enc one:rsa-2048")}}
			}, nil, "removed", false, nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c.keysets)
			if err := s.publish(snapshot(s.view(c.doc(s)))); err != nil {
				t.Fatal(err)
			}
			s.publisher.prove(t.Context())
			if got, _ := s.page("ks"); !slices.Equal(got, c.page) || (got == nil) != (c.page == nil) {
				t.Errorf("on the page are %q, want %q", got, c.page)
			}
			status := s.status()
			if status.Mode != c.mode || status.Ready != c.ready {
				t.Errorf("mode %s, ready %t; want %s, %t", status.Mode, status.Ready, c.mode, c.ready)
			}
			var coming []string
			for _, one := range status.Coming {
				coming = append(coming, one.Algorithm)
				if d := one.At.Sub(soon); d < 0 || d > 2*time.Hour {
					t.Errorf("%s comes at %v, want about %v", one.Algorithm, one.At, soon)
				}
			}
			if !slices.Equal(coming, c.coming) {
				t.Errorf("coming are %q, want %q", coming, c.coming)
			}
			for asked, want := range c.signs {
				alg, kid, _ := strings.Cut(asked, " ")
				if got := s.sign(alg, kid, time.Minute); got != want && (!strings.Contains(got, want) || !strings.Contains(got, " ")) {
					t.Errorf("%s: %q, want %q", asked, got, want)
				}
			}
		})
	}
}

// TestStatusOfRemoved tells when the keys of a keyset that was removed go.
func TestStatusOfRemoved(t *testing.T) {
	at := time.Now().Add(9 * time.Hour).UTC().Truncate(time.Second)
	for name, c := range map[string]struct {
		policy rotation.Policy
		left   int
		want   string
	}{
		"by the clock":        {rotation.Policy{Retain: time.Hour}, 2, "it was removed from the configuration; its keys leave the page at " + at.Format(time.RFC3339) + "; a token is down"},
		"when revoked":        {rotation.Policy{RetainUntilRevoked: true}, 2, "stay on the page until they are revoked"},
		"nothing is left":     {rotation.Policy{Retain: time.Hour}, 0, "its keys leave the page; a token"},
		"not put down as yet": {rotation.Policy{Retain: time.Hour}, 1, "its keys leave the page; a token"},
	} {
		s := newStage(t, another)
		d := rotation.Document{Last: 2, Removed: time.Now(), Generations: []rotation.Generation{
			s.generation(1, rotation.Retired, "one:rsa-2048"), s.generation(2, rotation.Retired, "two:rsa-2048")}[:c.left]}
		if c.left == 1 {
			d.Generations[0].RetainUntil = time.Time{}
		} else if c.left == 2 {
			d.Generations[0].RetainUntil, d.Generations[1].RetainUntil = at.Add(-time.Hour), at
		}
		k := s.view(d)
		k.Policy, k.Problem = c.policy, "a token is down"
		if err := s.publish(snapshot(k)); err != nil {
			t.Fatal(err)
		}
		status := s.status()
		if !strings.Contains(status.Problem, c.want) {
			t.Errorf("%s: the problem is %q, want %q", name, status.Problem, c.want)
		}
		if name == "by the clock" && (!status.Generations[0].Until.Equal(at.Add(-time.Hour)) || !status.Generations[1].Until.Equal(at)) {
			t.Errorf("%+v", status.Generations)
		}
	}
}

// TestStatusOfActs: what operators did shows in the status.
func TestStatusOfActs(t *testing.T) {
	s := newStage(t, signingKeyset)
	d := rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, "one:rsa-2048")}, FrozenUntil: time.Now().Add(time.Hour)}
	for i := range 12 {
		d.Revoked = append(d.Revoked, rotation.Revocation{KID: fmt.Sprint("r", i), Spec: keyspec.P256, By: "uid 1", Why: "why"})
	}
	if err := s.publish(snapshot(s.view(d))); err != nil {
		t.Fatal(err)
	}
	status := s.status()
	if !status.FrozenUntil.Equal(d.FrozenUntil) {
		t.Errorf("frozen until %v, want %v", status.FrozenUntil, d.FrozenUntil)
	}
	if n := len(status.Revoked); n != maxRevoked || status.Revoked[0].KID != "r11" || status.Revoked[n-1].KID != "r2" || status.Revoked[0].Reason != "why" {
		t.Errorf("revoked are %+v, want r11 down to r2", status.Revoked)
	}
	d.FrozenUntil = time.Now().Add(-time.Hour)
	if err := s.publish(snapshot(s.view(d))); err != nil {
		t.Fatal(err)
	}
	if at := s.status().FrozenUntil; !at.IsZero() {
		t.Errorf("a freeze that is over shows as until %v", at)
	}
}

// TestLongTokens: what is not surely guaranteed takes a watermark, also for a generation of
// which nothing was put down (invariant 2).
func TestLongTokens(t *testing.T) {
	for name, c := range map[string]struct {
		lifetime time.Duration // of the generation
		marks    int
	}{"guaranteed": {12 * time.Hour, 0}, "too short": {time.Minute, 1}, "nothing put down": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, signingKeyset)
			g := s.generation(7, rotation.Active, "one:rsa-2048")
			g.Lifetime = c.lifetime
			if err := s.publish(snapshot(s.view(rotation.Document{Last: 7, Generations: []rotation.Generation{g}}))); err != nil {
				t.Fatal(err)
			}
			if got := s.sign("RS256", "", time.Hour); got != "one" {
				t.Fatal(got)
			}
			if len(s.outlive) != c.marks || c.marks > 0 && s.outlive[0] != 7 {
				t.Errorf("watermarks were asked for generations %v, want %d of them", s.outlive, c.marks)
			}
		})
	}
}

// TestEncryptionIsFreshUntilTheNextActivation: activation is publication there.
func TestEncryptionIsFreshUntilTheNextActivation(t *testing.T) {
	s := newStage(t, encKeyset)
	g := s.generation(1, rotation.Active, "enc one:rsa-2048")
	k := s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{g}})
	k.Document.Generations[0].Scheduled = time.Now().Add(30*time.Second - k.Policy.Period)
	if err := s.publish(snapshot(k)); err != nil {
		t.Fatal(err)
	}
	var seconds int
	_, cache := s.page("ks")
	if _, err := fmt.Sscanf(cache, "public, max-age=%d,", &seconds); err != nil || seconds > 30 {
		t.Errorf("Cache-Control is %q with 30 s to the next activation", cache)
	}
}

// TestCanSign: every keyset of the configuration has to have what it needs, and no other.
func TestCanSign(t *testing.T) {
	const p, a, r = rotation.Pending, rotation.Active, rotation.Retired
	for name, c := range map[string]struct {
		keysets string
		state   rotation.State
		key     string
		want    bool
	}{
		"a key signs":    {signingKeyset, a, "one:rsa-2048", true},
		"none signs":     {signingKeyset, p, "one:rsa-2048", false},
		"a key decrypts": {encKeyset, a, "enc one:rsa-2048", true},
		"none decrypts":  {encKeyset, r, "enc one:rsa-2048", false},
		"vanished":       {another, a, "one:rsa-2048", true},
	} {
		s := newStage(t, c.keysets)
		k := s.view(rotation.Document{Generations: []rotation.Generation{s.generation(1, c.state, c.key)}})
		if k.Policy.Encrypts() {
			k.Signing = nil
		}
		shown := snapshot(k)
		if c.keysets == another {
			shown = snapshot(k, &rotation.Keyset{Name: "other", Configured: true, Document: k.Document, Signing: k.Document.Generations[0].Keys})
		}
		if got := canSign(s.cfg, shown); got != c.want {
			t.Errorf("%s: canSign says %t", name, got)
		}
		if k.Document.Removed = time.Now(); canSign(s.cfg, shown) != (c.keysets == another) {
			t.Errorf("%s, and removed: canSign says otherwise", name)
		}
		if canSign(s.cfg, snapshot()) {
			t.Errorf("%s: a keyset of which nothing is known can sign", name)
		}
	}
}
