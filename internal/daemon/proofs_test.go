package daemon

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// open asks for a message to a key and returns the kid of what opened it, or the error.
func (s *stage) open(kid string, spec keyspec.Spec, alg jose.KeyAlgorithm) string {
	s.t.Helper()
	e, err := jose.NewEncrypter(jose.A128GCM, jose.Recipient{Algorithm: alg, Key: s.world.Keys[spec].Public, KeyID: kid}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	message, err := e.Encrypt([]byte("x"))
	if err != nil {
		s.t.Fatal(err)
	}
	compact, err := message.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	reply, err := s.service.Decrypt(s.t.Context(), operator, "ks", &v1.DecryptRequest{JWE: compact})
	if e, ok := errors.AsType[*v1.Error](err); ok {
		return string(e.Reason)
	}
	return reply.KID
}

const twoEncKeys = "  ks: {purpose: enc, keys: [rsa-2048, p-256], max_message_age: 1h}\n"

// A keyset offers what was proven of its active keys, and decrypts with those before, too.
func TestProofs(t *testing.T) {
	s := newStage(t, twoEncKeys)
	told := 0
	s.onShown = func() { told++ }
	d := rotation.Document{Last: 4, Generations: []rotation.Generation{
		s.generation(1, rotation.Retired, "enc one:rsa-2048"),
		s.generation(2, rotation.Retired, "enc two:rsa-2048"),
		s.generation(3, rotation.Active, "enc three:rsa-2048", "enc curve:p-256"),
		s.generation(4, rotation.Pending, "enc four:rsa-2048"),
	}}
	d.Revoked = []rotation.Revocation{{KID: "one", Spec: keyspec.RSA2048}}
	var mu sync.Mutex
	var asked []string
	fail := map[string]error{"three " + crypto.SHA256.String(): hsm.ErrUnsupported}
	s.probe = func(kid string, hash crypto.Hash) error {
		mu.Lock()
		defer mu.Unlock()
		name := kid + " ECDH"
		if hash != 0 {
			name = kid + " " + hash.String()
		}
		asked = append(asked, name)
		return fail[name]
	}
	if err := s.publish(snapshot(s.view(d))); err != nil {
		t.Fatal(err)
	}
	if status := s.status(); status.Ready || len(status.Algorithms) != 0 || s.allDecrypt() || told != 1 {
		t.Errorf("before anything is proven: %+v; all decrypt: %t; told %d times", status, s.allDecrypt(), told)
	}
	if got := s.open("three", keyspec.RSA2048, jose.RSA_OAEP); got != "not_ready" {
		t.Errorf("before anything is proven: %s", got)
	}
	if !s.prove(t.Context()) {
		t.Error("something is unknown though every probe said something")
	}
	slices.Sort(asked)
	if want := []string{"curve ECDH", "four SHA-1", "four SHA-256", "one SHA-1", "one SHA-256", "three SHA-1", "three SHA-256", "two SHA-1", "two SHA-256"}; !slices.Equal(asked, want) {
		t.Errorf("probed were %q, want %q", asked, want)
	}
	offered := []string{"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}
	if got := s.status().Algorithms; !slices.Equal(got, slices.Delete(slices.Clone(offered), 1, 2)) || !s.status().Ready || !s.allDecrypt() {
		t.Errorf("offered are %q", got)
	}
	if told != 2 {
		t.Errorf("a round that changed something told of it %d times, want once more", told-1)
	}
	for asked, want := range map[[2]string]string{
		{"three", "RSA-OAEP"}: "three", {"two", "RSA-OAEP"}: "two", {"one", "RSA-OAEP"}: "decryption_failed", {"four", "RSA-OAEP"}: "decryption_failed",
		{"", "RSA-OAEP"}: "three", {"three", "RSA-OAEP-256"}: "decryption_failed", {"two", "RSA-OAEP-256"}: "two",
	} {
		if got := s.open(asked[0], keyspec.RSA2048, jose.KeyAlgorithm(asked[1])); got != want {
			t.Errorf("%q: %s, want %s", asked, got, want)
		}
	}
	if got := s.open("curve", keyspec.P256, jose.ECDH_ES); got != "curve" {
		t.Error(got)
	}

	// A token that is away is not asked for each key, and what was proven stays.
	asked, told = nil, 0
	down := fmt.Errorf("token default: %w", hsm.ErrUnavailable)
	for _, name := range []string{"three SHA-1", "three SHA-256", "curve ECDH"} {
		fail[name] = down
	}
	if s.prove(t.Context()) || len(asked) != 1 || told != 0 || len(s.status().Algorithms) != 4 {
		t.Errorf("with the token down: probed %q, told %d times, offered %q", asked, told, s.status().Algorithms)
	}
	// A key that cannot be asked does not keep others from it.
	asked = nil
	for name := range fail {
		fail[name] = hsm.ErrOverloaded
	}
	if s.prove(t.Context()) || len(asked) != 9 {
		t.Errorf("with some overloaded: probed %q", asked)
	}
	// It comes back with other firmware.
	clear(fail)
	fail["curve ECDH"] = hsm.ErrUnsupported
	if !s.prove(t.Context()) || !slices.Equal(s.status().Algorithms, offered[:2]) || told != 1 {
		t.Errorf("after it came back: offered %q, told %d times", s.status().Algorithms, told)
	}
	// The next generation was proven ahead of its time.
	d.Generations[2].State, d.Generations[3].State = rotation.Retired, rotation.Active
	if err := s.publish(snapshot(s.view(d))); err != nil {
		t.Fatal(err)
	}
	if got := s.open("", keyspec.RSA2048, jose.RSA_OAEP_256); got != "four" || !s.status().Ready {
		t.Errorf("right after the activation: %s", got)
	}
	lost := d.Generations[3].Keys
	lost[0].Lost = d.Generations[3].Made
	if err := s.publish(snapshot(s.view(d))); err != nil {
		t.Fatal(err)
	}
	if got := s.open("four", keyspec.RSA2048, jose.RSA_OAEP); got != "decryption_failed" || s.status().Ready || s.allDecrypt() {
		t.Errorf("with the active key lost: %s", got)
	}
}

// Keys are probed when something is heard, and those of which nothing could be found out again.
func TestKeepProving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, encKeyset)
		ring, heard := newBell()
		s.onShown = ring
		var n atomic.Int64
		var well atomic.Bool
		s.probe = func(string, crypto.Hash) error {
			if n.Add(1); well.Load() {
				return nil
			}
			return hsm.ErrOverloaded
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.keepProving(ctx, heard); close(ended) }()
		synctest.Wait() // there is nothing to prove yet
		if err := s.publish(snapshot(s.view(rotation.Document{Last: 1, Generations: []rotation.Generation{s.generation(1, rotation.Active, "enc one:rsa-2048")}}))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n.Load() != 2 || s.status().Ready {
			t.Errorf("once it is shown: %d probes, %+v", n.Load(), s.status())
		}
		well.Store(true)
		time.Sleep(proveAgain - time.Millisecond)
		if synctest.Wait(); n.Load() != 2 {
			t.Errorf("before it is time: %d probes", n.Load())
		}
		time.Sleep(time.Millisecond)
		// What that changed is shown, which is heard, and changes nothing more.
		if synctest.Wait(); n.Load() != 6 || !s.status().Ready {
			t.Errorf("when it is time: %d probes, %+v", n.Load(), s.status())
		}
		time.Sleep(10 * proveAgain)
		if synctest.Wait(); n.Load() != 6 {
			t.Errorf("with all proven: %d probes", n.Load())
		}
		if err := s.again(); err != nil { // as when something is heard of a token
			t.Fatal(err)
		}
		if synctest.Wait(); n.Load() != 8 {
			t.Errorf("when a token came or went: %d probes", n.Load())
		}
		cancel()
		<-ended
	})
}

// A key of a token that is not configured keeps no other from decrypting.
func TestDecryptWithoutTheToken(t *testing.T) {
	s := newStage(t, encKeyset)
	d := rotation.Document{Last: 2, Generations: []rotation.Generation{
		s.generation(1, rotation.Retired, "enc one:rsa-2048"), s.generation(2, rotation.Active, "enc two:rsa-2048")}}
	d.Generations[0].Keys[0].Token = "gone"
	if err := s.publish(snapshot(s.view(d))); err != nil {
		t.Fatal(err)
	}
	s.prove(t.Context())
	if got := s.open("two", keyspec.RSA2048, jose.RSA_OAEP); got != "two" {
		t.Error(got)
	}
	if got := s.open("one", keyspec.RSA2048, jose.RSA_OAEP); got != "decryption_failed" {
		t.Error(got)
	}
}
