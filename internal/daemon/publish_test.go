package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

// TestOneOfMany: a change of one keyset asks nothing of the keys of others, and what the tokens say
// of those is told nonetheless.
func TestOneOfMany(t *testing.T) {
	s := newStage(t, signingKeyset+another)
	one := s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, "one:rsa-2048")}})
	view := func(kid string) *rotation.Keyset {
		k := *s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, kid+":p-256")}})
		k.Name, k.Policy = "other", s.cfg.Keysets["other"].Policy("other")
		return &k
	}
	for _, kid := range []string{"a", "b"} {
		if err := s.publish(snapshot(one, view(kid))); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"one", "a", "b"}; !slices.Equal(s.handled, want) {
		t.Errorf("keys were asked of their tokens: %q, want %q", s.handled, want)
	}
	s.problem = "it is not what it was"
	if err := s.again(); err != nil {
		t.Fatal(err)
	}
	if got := s.status().Problem; got != s.problem {
		t.Errorf("the problem is %q, want %q", got, s.problem)
	}
	s.problem = ""
	if err := s.again(); err != nil {
		t.Fatal(err)
	}
	if got := s.status().Problem; got != "" || len(s.handled) != 3 {
		t.Errorf("the problem is still %q, and %q were asked of their tokens", got, s.handled)
	}
}

// TestPublishWith: a configuration comes into force with what is shown by it, or not at all.
func TestPublishWith(t *testing.T) {
	s := newStage(t, signingKeyset)
	k := s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, "one:rsa-2048")}})
	if err := s.publish(snapshot(k)); err != nil {
		t.Fatal(err)
	}
	old, rights := s.cfg, s.rights
	other := parse(t, strings.Replace(signingKeyset, "any_issuer: true", "issuer: https://issuer.example, default_algorithm: PS256", 1))
	bad := *k
	bad.Document.Generations = []rotation.Generation{{Number: 1, State: rotation.Active, Keys: []rotation.Key{{KID: "broken"}}}}
	err := s.publishWith(other, rights)(snapshot(&bad))
	if e, ok := errors.AsType[*notShown](err); !ok || e.keyset != "ks" {
		t.Fatalf("of a key that cannot be read it says %v", err)
	}
	if s.config() != old || s.status().Issuer != "" {
		t.Error("a configuration whose pages cannot be made is in force")
	}
	none, err := policy.New(nil, policy.Options{OverflowUID: 65534, DaemonUID: testUID})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.publishWith(other, none)(snapshot(k)); err != nil {
		t.Fatal(err)
	}
	if s.config() != other || s.status().Issuer != "https://issuer.example" || s.status().Algorithms[0] != "PS256" {
		t.Errorf("the same keyset shows as before under another configuration: %+v", s.status())
	}
	if got := s.sign("RS256", "", time.Minute); !strings.Contains(got, string(v1.NotGranted)) {
		t.Errorf("a caller whose grant is gone gets %q", got)
	}
	if err := s.publish(snapshot(k)); err != nil { // the manager's next
		t.Fatal(err)
	}
	if got := s.sign("RS256", "", time.Minute); !strings.Contains(got, string(v1.NotGranted)) || s.status().Issuer == "" {
		t.Errorf("the next snapshot is shown by the configuration before: %q, %+v", got, s.status())
	}
}

// TestDrain waits for requests that hold what was shown before, and no longer than it may.
func TestDrain(t *testing.T) {
	s := newStage(t, signingKeyset)
	if err := s.drain(t.Context()); err != nil {
		t.Fatalf("nothing was shown yet: %v", err)
	}
	k := s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, "one:rsa-2048")}})
	if err := s.publish(snapshot(k)); err != nil {
		t.Fatal(err)
	}
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan string)
	s.world.Keys[keyspec.RSA2048].Hook(func(context.Context) { close(began); <-goOn })
	go func() { done <- s.sign("RS256", "", time.Minute) }()
	<-began
	if err := s.publish(snapshot(k)); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.drain(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a request under way drain says %v", err)
	}
	close(goOn)
	if got := <-done; got != "one" {
		t.Error(got)
	}
	if err := s.drain(t.Context()); err != nil {
		t.Error(err)
	}
}
