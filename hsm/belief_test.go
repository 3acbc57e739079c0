package hsm_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// bubble is a token in memory and a key on it, in a synctest bubble. cfg may change its Config.
func bubble(t *testing.T, cfg func(*hsm.Config), f func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, shown *wire.Object)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		var shown *wire.Object // what the token tells of the key
		m.AlterGenerated(func(o *wire.Object) { shown = o })
		c := m.Config()
		if cfg != nil {
			cfg(&c)
		}
		token, err := hsm.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		key := generate(t, token, keyspec.P256)
		m.AlterGenerated(nil)
		f(t, m, token, key, shown)
	})
}

// nextEpoch ends the present one.
func nextEpoch(t *testing.T, m *memory.Token, token *hsm.Token) {
	t.Helper()
	m.Drop()
	synctest.Wait()
	if err := token.Ready(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// The first signature of a key in an epoch is verified although none is to be.
func TestFirstSignatureInAnEpochIsAProbe(t *testing.T) {
	bubble(t, func(c *hsm.Config) { c.Verify = hsm.VerifyNone }, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, _ *wire.Object) {
		corrupt := func(opts crypto.SignerOpts) error {
			m.Clear()
			m.Inject(memory.Fault{Op: wire.OpSign, Corrupt: true})
			_, err := key.Sign(t.Context(), random(opts), opts)
			return err
		}
		if err := corrupt(crypto.SHA256); err != nil {
			t.Errorf("the key was tried when it was made: %v", err)
		}
		if err := corrupt(crypto.SHA384); !errors.Is(err, hsm.ErrBadSignature) {
			t.Errorf("with a hash that was not tried: %v", err)
		}
		if err := token.Ready(t.Context()); err != nil { // in another epoch now
			t.Fatal(err)
		}
		if err := corrupt(crypto.SHA256); !errors.Is(err, hsm.ErrBadSignature) {
			t.Errorf("the first in this epoch: %v", err)
		}
		m.Clear()
		if err := sign(t, t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if err := corrupt(crypto.SHA256); err != nil {
			t.Errorf("the second in this epoch: %v", err)
		}
	})
}

func TestUnsupportedIsRememberedForTheEpoch(t *testing.T) {
	var changes atomic.Int32
	bubble(t, func(c *hsm.Config) { c.OnChange = func() { changes.Add(1) } }, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, _ *wire.Object) {
		before := changes.Load()
		m.Inject(memory.Fault{Op: wire.OpSign, Code: ckrMechanismInvalid})
		for range 2 {
			if err := key.Probe(t.Context(), crypto.SHA512); !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("error %v, want ErrUnsupported", err)
			} else if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != ckrMechanismInvalid {
				t.Errorf("%v has lost the code", err)
			}
		}
		if changes.Load() != before+1 {
			t.Errorf("%d changes were told, want one", changes.Load()-before)
		}
		again, err := token.Key(hsm.Ref{Label: "test/p-256"}, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			key  *hsm.Key
			opts crypto.SignerOpts
			want bool
		}{
			{key, crypto.SHA512, true}, {key, crypto.SHA256, false}, {key, crypto.SHA384, false},
			{again, crypto.SHA512, false}, // by another name: not known
			{key, crypto.SHA1, true}, {key, nil, true},
			{key, &rsa.PSSOptions{Hash: crypto.SHA512, SaltLength: rsa.PSSSaltLengthEqualsHash}, true},
		} {
			if got := c.key.Unsupported(c.opts); got != c.want {
				t.Errorf("unsupported by %v: %v", c.opts, got)
			}
		}
		if err := sign(t, t.Context(), key); err != nil {
			t.Errorf("by another hash: %v", err)
		}
		nextEpoch(t, m, token)
		if key.Unsupported(crypto.SHA512) {
			t.Error("the next epoch inherits a belief")
		}
		if err := key.Probe(t.Context(), crypto.SHA512); err != nil {
			t.Errorf("in the next epoch: %v", err)
		}
		m.Inject(memory.Fault{Op: wire.OpSign, Drop: true}) // nobody asks
		if err := key.Probe(t.Context(), crypto.SHA512); err != nil || m.Started() != 2 {
			t.Errorf("what was proven was probed: %v, %d workers", err, m.Started())
		}
	})
}

// A key is examined when an epoch first uses it, before the token is asked to sign.
func TestKeyIsExaminedInEachEpoch(t *testing.T) {
	for _, c := range []struct {
		name   string
		alter  func(*wire.Object)
		accept []string
		err    error
	}{
		{"as it was", func(*wire.Object) {}, nil, nil},
		{"extractable", func(o *wire.Object) { o.Attributes.Extractable = new(true) }, nil, hsm.ErrTemplate},
		{"extractable, accepted", func(o *wire.Object) { o.Attributes.Extractable = new(true) }, []string{"test/p-256"}, nil},
		{"extractable, another accepted", func(o *wire.Object) { o.Attributes.Extractable = new(true) }, []string{"test/"}, hsm.ErrTemplate},
		{"another public half", func(o *wire.Object) { o.PublicKey = anotherKey(t) }, []string{"test/p-256"}, hsm.ErrWrongKey},
		{"relabelled", func(o *wire.Object) { o.Label = "x" }, nil, hsm.ErrKeyNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(cfg *hsm.Config) { cfg.Accept = c.accept }, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, shown *wire.Object) {
				m.Objects() // takes the lock: the token sees what is changed
				was := *shown
				c.alter(shown)
				if err := sign(t, t.Context(), key); err != nil && c.err != hsm.ErrKeyNotFound {
					t.Errorf("in the epoch that examined it: %v", err)
				}
				nextEpoch(t, m, token)
				if c.err != nil {
					m.Inject(memory.Fault{Op: wire.OpSign, Drop: true}) // nobody asks
				}
				if err := sign(t, t.Context(), key); !errors.Is(err, c.err) || c.err == nil && err != nil {
					t.Errorf("error %v, want %v", err, c.err)
				}
				if token.Status(); m.Started() != 2 {
					t.Errorf("%d workers", m.Started())
				}
				// A person repaired it: that is seen after a while, without another epoch.
				m.Clear()
				m.Objects()
				*shown = was
				time.Sleep(11 * time.Second)
				if err := sign(t, t.Context(), key); err != nil || m.Started() != 2 {
					t.Errorf("repaired: %v, %d workers", err, m.Started())
				}
			})
		})
	}
}

func anotherKey(t *testing.T) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// An inventory which a change made void is made anew once, however many wait for it, and to the
// end, also if all of them give up. A key that was in the one before signs meanwhile.
func TestInventoryIsMadeOnceForAll(t *testing.T) {
	bubble(t, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, _ *wire.Object) {
		nextEpoch(t, m, token)
		if _, err := token.Destroy(t.Context(), hsm.Ref{ID: []byte("nothing")}); err != nil {
			t.Fatal(err)
		}
		free := make(chan struct{})
		m.Inject(memory.Fault{Op: wire.OpList, Hang: free})
		m.Inject(memory.Fault{Op: wire.OpList, Drop: true}) // nobody asks twice
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				if _, err := token.Objects(within(t, time.Second), ""); !errors.Is(err, hsm.ErrUnavailable) {
					t.Errorf("a caller that gave up: %v", err)
				}
			})
		}
		callers.Wait()
		if err := sign(t, within(t, time.Second), key); err != nil {
			t.Errorf("a key that was there before: %v", err)
		}
		close(free)
		synctest.Wait()
		if objects, err := token.Objects(t.Context(), ""); err != nil || len(objects) != 1 || m.Started() != 2 {
			t.Errorf("%d keys, %v, %d workers", len(objects), err, m.Started())
		}
	})
}

// What the worker says is missing is examined again.
func TestKeyThatTheWorkerMisses(t *testing.T) {
	bubble(t, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, _ *wire.Object) {
		time.Sleep(time.Minute)
		if objects, err := token.Objects(t.Context(), ""); len(objects) != 1 || err != nil {
			t.Fatalf("%d keys, %v", len(objects), err)
		}
		time.Sleep(time.Minute)
		m.Lose(hsm.Ref{Label: "test/p-256"})
		if err := sign(t, t.Context(), key); !errors.Is(err, hsm.ErrKeyNotFound) {
			t.Errorf("error %v, want ErrKeyNotFound", err)
		}
		if objects, err := token.Objects(t.Context(), ""); len(objects) != 0 || err != nil {
			t.Errorf("the inventory still has %d keys, %v", len(objects), err)
		}
		m.Inject(memory.Fault{Op: wire.OpSign, Drop: true}) // nobody asks
		if err := sign(t, t.Context(), key); !errors.Is(err, hsm.ErrKeyNotFound) || m.Started() != 1 {
			t.Errorf("error %v, %d workers", err, m.Started())
		}
	})
}

// A key that was just made is known without a list, and one that we destroyed is no more.
func TestKeysThatWeMakeAndDestroy(t *testing.T) {
	bubble(t, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, shown *wire.Object) {
		m.Inject(memory.Fault{Op: wire.OpList, Drop: true}) // nobody asks
		generate(t, token, keyspec.Ed25519)
		m.Clear()
		if n, err := token.Destroy(t.Context(), hsm.Ref{ID: shown.ID}); n != 2 || err != nil {
			t.Fatalf("%d objects, %v", n, err)
		}
		m.Inject(memory.Fault{Op: wire.OpSign, Drop: true}) // nobody asks
		if err := sign(t, t.Context(), key); !errors.Is(err, hsm.ErrKeyNotFound) || m.Started() != 1 {
			t.Errorf("error %v, %d workers", err, m.Started())
		}
	})
}
