package hsm_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // of RSA-OAEP
	"crypto/x509"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
	"keysetd.example/internal/metric"
)

// keyTo makes a key for a usage.
func keyTo(t *testing.T, token *hsm.Token, spec keyspec.Spec, usage hsm.Usage) *hsm.Key {
	t.Helper()
	r := request("test/"+string(usage)+"/"+string(spec), spec)
	r.Usage = usage
	o, err := token.Generate(within(t, time.Minute), r)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Key(hsm.Ref{ID: r.ID, Label: r.Label}, pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open has key decrypt something that was encrypted to it, by SHA-1 or ECDH.
func open(ctx context.Context, key *hsm.Key) error {
	var got, want []byte
	var err error
	if pub, ok := key.Public().(*rsa.PublicKey); ok {
		want = []byte("plaintext")
		got, err = key.Decrypt(ctx, seal(pub), &rsa.OAEPOptions{Hash: crypto.SHA1})
	} else {
		theirs, _ := key.Public().(*ecdsa.PublicKey).ECDH()
		ours, _ := theirs.Curve().GenerateKey(rand.Reader)
		want, _ = ours.ECDH(theirs)
		got, err = key.ECDH(ctx, ours.PublicKey())
	}
	if err == nil && !bytes.Equal(got, want) {
		return errors.New("it was decrypted to something else")
	}
	return err
}

func seal(pub *rsa.PublicKey) []byte {
	c, err := rsa.EncryptOAEP(crypto.SHA1.New(), rand.Reader, pub, []byte("plaintext"), nil)
	if err != nil {
		panic(err)
	}
	return c
}

// opening is a token in memory with a key that derives, or decrypts, in a synctest bubble.
func opening(t *testing.T, spec keyspec.Spec, cfg func(*hsm.Config), f func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		c := m.Config()
		if cfg != nil {
			cfg(&c)
		}
		token, err := hsm.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		usage := hsm.Derive
		if spec.RSA() {
			usage = hsm.Decrypt
		}
		f(t, m, token, keyTo(t, token, spec, usage))
	})
}

// What an epoch's end interrupts is asked for again, in three epochs at most.
func TestDecryptAsksAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  memory.Fault
		err    error
		epochs int
	}{
		{"device error", memory.Fault{Code: ckrDeviceError}, nil, 2},
		{"worker dies", memory.Fault{Drop: true}, nil, 2},
		{"worker dies after the effect", memory.Fault{Drop: true, After: true}, nil, 2},
		{"worker dies twice", memory.Fault{Drop: true, Times: 2}, nil, 3},
		{"three times", memory.Fault{Code: ckrDeviceError, Times: 3}, hsm.ErrUnavailable, 4},
		{"hangs", memory.Fault{Hang: make(chan struct{})}, nil, 2},
	} {
		for _, first := range []bool{true, false} { // in the proof, or in what was asked for
			t.Run(c.name, func(t *testing.T) {
				opening(t, keyspec.P256, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key) {
					if c.fault.Hang != nil {
						c.fault.Hang = make(chan struct{}) // of this bubble
					}
					if !first {
						if err := open(t.Context(), key); err != nil {
							t.Fatal(err)
						}
					}
					c.fault.Op = wire.OpDecrypt
					m.Inject(c.fault)
					if err := open(within(t, time.Minute), key); !errors.Is(err, c.err) || c.err == nil && err != nil || errors.Is(err, hsm.ErrDecrypt) {
						t.Errorf("error %v, want %v", err, c.err)
					}
					m.Clear()
					time.Sleep(2 * time.Second) // what never worked is held up
					if err := open(within(t, time.Minute), key); err != nil {
						t.Errorf("afterwards: %v", err)
					}
					if m.Started() != c.epochs {
						t.Errorf("%d workers, want %d", m.Started(), c.epochs)
					}
				})
			})
		}
	}
}

// A key that is for one thing is not used for another, and the token is not asked.
func TestKeyIsForOneUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		token, err := hsm.Start(m.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		for _, usage := range []hsm.Usage{hsm.Sign, hsm.Decrypt, hsm.Derive} {
			for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.P256} {
				if usage == hsm.Decrypt && !spec.RSA() || usage == hsm.Derive && spec.RSA() {
					continue
				}
				key := keyTo(t, token, spec, usage)
				for range 2 { // in the epoch that made it, and in another
					may, mayNot := open, func(ctx context.Context, k *hsm.Key) error { return sign(t, ctx, k) }
					op := wire.OpSign
					if usage == hsm.Sign {
						may, mayNot, op = mayNot, may, wire.OpDecrypt
					}
					m.Inject(memory.Fault{Op: op, Drop: true}) // nobody asks
					for range 2 {
						before := m.Started()
						if err := mayNot(t.Context(), key); !errors.Is(err, hsm.ErrTemplate) || m.Started() != before {
							t.Errorf("a key %s to %s does something else: %v", spec, usage, err)
						}
						if key.Problem() == "" {
							t.Error("no problem is told")
						}
						if err := may(t.Context(), key); err != nil {
							t.Errorf("a key %s to %s does not: %v", spec, usage, err)
						}
					}
					m.Clear()
					nextEpoch(t, m, token)
				}
			}
		}
	})
}

// The first use of a key in an epoch is of something whose plaintext is known. A failure that is once is
// none; one that stays makes the way unsupported for this epoch.
func TestFirstDecryptionInAnEpochIsAProof(t *testing.T) {
	const ckrGeneral, ckrMechanismInvalid, ckrArguments, ckrCanceled = 0x05, 0x70, 0x07, 0x50
	for _, c := range []struct {
		name   string
		fault  memory.Fault
		asked  int // of the token, until it is given up
		epochs int
	}{
		{"wrong plaintext", memory.Fault{Corrupt: true}, 3, 1},
		{"arguments", memory.Fault{Code: ckrArguments}, 3, 1},
		{"canceled", memory.Fault{Code: ckrCanceled}, 3, 1},
		{"mechanism", memory.Fault{Code: ckrMechanismInvalid}, 1, 1},
	} {
		for _, spec := range []keyspec.Spec{keyspec.P256, keyspec.RSA2048} {
			t.Run(c.name+" "+string(spec), func(t *testing.T) {
				var changes atomic.Int32
				opening(t, spec, func(cfg *hsm.Config) { cfg.OnChange = func() { changes.Add(1) } }, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key) {
					hash := crypto.Hash(0)
					if spec.RSA() {
						hash = crypto.SHA1
					}
					c.fault.Op, c.fault.Times = wire.OpDecrypt, 1
					for range c.asked - 1 {
						m.Inject(c.fault)
					}
					if err := open(t.Context(), key); err != nil || key.DecryptUnsupported(hash) {
						t.Errorf("%d failures: %v", c.asked-1, err)
					}
					c.fault.Times = 1 << 20
					m.Inject(c.fault)
					if err := key.ProbeDecrypt(t.Context(), hash); err != nil {
						t.Errorf("what was proven is proven again: %v", err)
					}
					m.Clear()
					nextEpoch(t, m, token)
					if key.DecryptUnsupported(hash) {
						t.Error("what was not tried is not supported")
					}
					before := changes.Load()
					c.fault.Times = c.asked
					m.Inject(c.fault)
					for range 2 {
						if err := key.ProbeDecrypt(t.Context(), hash); !errors.Is(err, hsm.ErrUnsupported) || errors.Is(err, hsm.ErrDecrypt) {
							t.Errorf("probe: %v", err)
						}
						if err := open(t.Context(), key); !errors.Is(err, hsm.ErrUnsupported) || !key.DecryptUnsupported(hash) {
							t.Errorf("a request: %v, known: %v", err, key.DecryptUnsupported(hash))
						}
					}
					if changes.Load() != before+1 || m.Started() != 1+c.epochs {
						t.Errorf("%d changes, %d workers", changes.Load()-before, m.Started())
					}
					if spec.RSA() {
						if err := key.ProbeDecrypt(t.Context(), crypto.SHA256); err != nil || key.DecryptUnsupported(crypto.SHA256) {
							t.Errorf("another hash: %v", err)
						}
					}
					nextEpoch(t, m, token)
					if err := open(t.Context(), key); err != nil || key.DecryptUnsupported(hash) {
						t.Errorf("in the next epoch: %v", err)
					}
				})
			})
		}
	}
}

// A way to decrypt that ends epochs and never worked is tried more and more rarely.
func TestDecryptionThatEndsEpochs(t *testing.T) {
	opening(t, keyspec.P256, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key) {
		m.Inject(memory.Fault{Op: wire.OpDecrypt, Code: ckrGeneralError, Times: 1 << 20})
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(time.Second) {
			if err := open(within(t, 5*time.Second), key); !errors.Is(err, hsm.ErrUnavailable) {
				t.Fatalf("error %v", err)
			}
		}
		if n := m.Started(); n < 10 || n > 25 {
			t.Errorf("%d workers in ten minutes", n)
		}
	})
}

// Decryptions wait in the queue with signatures, share with them, and are refused when it is full.
func TestDecryptionsWaitWithSignatures(t *testing.T) {
	opening(t, keyspec.P256, func(c *hsm.Config) { c.Sessions, c.Queue = 1, 2 }, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key) {
		signer := generate(t, token, keyspec.Ed25519)
		if err := open(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		free := make(chan struct{})
		m.Inject(memory.Fault{Op: wire.OpSign, Hang: free, Times: 2})
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				if err := sign(t, t.Context(), signer); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		for range 2 {
			callers.Go(func() {
				if err := open(t.Context(), key); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if err := open(t.Context(), key); !errors.Is(err, hsm.ErrOverloaded) {
			t.Errorf("one too many: %v", err)
		}
		close(free)
		callers.Wait()
	})
}

// A key that was lost is missed by decryptions as by signatures.
func TestDecryptWithAKeyThatIsNotThere(t *testing.T) {
	opening(t, keyspec.P256, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key) {
		for range 2 { // before it was proven in this epoch and after
			m.Lose(hsm.Ref{Label: "test/derive/p-256"})
			if err := open(t.Context(), key); !errors.Is(err, hsm.ErrKeyNotFound) || errors.Is(err, hsm.ErrDecrypt) {
				t.Errorf("a lost key: %v", err)
			}
			m.Restore(hsm.Ref{Label: "test/derive/p-256"})
			time.Sleep(11 * time.Second)
			if err := open(t.Context(), key); err != nil || m.Started() != 1 {
				t.Errorf("restored: %v, %d workers", err, m.Started())
			}
		}
	})
}

// The metrics do not tell how long a single decryption took within what its reply tells.
func TestDecryptionMetricsAreCoarse(t *testing.T) {
	m := memory.New("t", "1234")
	cfg := m.Config()
	cfg.Metrics = hsm.NewMetrics()
	reg := prometheus.NewRegistry()
	reg.MustRegister(cfg.Metrics)
	token := ready(t, cfg)
	for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.P256} {
		key := keyTo(t, token, spec, map[bool]hsm.Usage{true: hsm.Decrypt, false: hsm.Derive}[spec.RSA()])
		for range 3 {
			if err := open(within(t, 10*time.Second), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			h := m.GetHistogram()
			if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == "operation" && l.GetValue() == "decrypt" }) || h.GetSampleCount() == 0 {
				continue
			}
			seen++
			grains := h.GetSampleSum() / metric.Grain.Seconds()
			if math.Abs(grains-math.Round(grains)) > 1e-6 || grains < float64(h.GetSampleCount())-1e-6 {
				t.Errorf("the sum of %d is %v", h.GetSampleCount(), h.GetSampleSum())
			}
			for _, b := range h.GetBucket() {
				if b.GetUpperBound() < metric.Grain.Seconds() && b.GetCumulativeCount() > 0 {
					t.Errorf("%d took less than %v", b.GetCumulativeCount(), b.GetUpperBound())
				}
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d mechanisms have decrypted", seen)
	}
	closeToken(t, token)
}
