package hsm_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

const ckrDeviceError, ckrDataLenRange, ckrMechanismInvalid = 0x30, 0x21, 0x70

func TestAllSpecsOnMemory(t *testing.T) {
	testAllSpecs(t, memory.New("t", "1234").Config())
}

// testAllSpecs makes a key of each spec, signs in every way, and finds it again.
func testAllSpecs(t *testing.T, cfg hsm.Config) {
	token := ready(t, cfg)
	for _, spec := range keyspec.All() {
		key := generate(t, token, spec)
		if got, err := keyspec.Of(key.Public()); got != spec {
			t.Errorf("a key of %s was made for %s (%v)", got, spec, err)
		}
		for _, a := range algorithms(key.Public()) {
			digest := random(a.opts)
			sig, err := key.Sign(within(t, 20*time.Second), digest, a.opts)
			if err != nil {
				t.Errorf("%s %s: %v", spec, a.name, err)
				continue
			}
			verify(t, key.Public(), a.opts, digest, sig)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "t"}}
		der, err := x509.CreateCertificate(nil, template, template, key.Public(), key.Signer(within(t, 20*time.Second)))
		if err != nil {
			t.Errorf("%s: certificate: %v", spec, err)
			continue
		}
		if c, err := x509.ParseCertificate(der); err != nil || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
			t.Errorf("%s: the certificate's signature does not verify (%v)", spec, err)
		}
	}
	objects, err := token.Objects(t.Context(), "test/")
	if err != nil || len(objects) != len(keyspec.All()) {
		t.Errorf("%d keys, %v; want %d", len(objects), err, len(keyspec.All()))
	}
	for _, o := range objects {
		if err := hsm.CheckAttributes(o, hsm.Sign); err != nil {
			t.Error(err)
		}
		if n, err := token.Destroy(t.Context(), hsm.Ref{ID: o.ID, Label: o.Label}); n != 2 || err != nil {
			t.Errorf("destroy: %d objects, %v", n, err)
		}
	}
	if objects, err := token.Objects(t.Context(), ""); len(objects) != 0 || err != nil {
		t.Errorf("%d keys are left, %v", len(objects), err)
	}
}

func TestSignChecksBeforeItAsks(t *testing.T) {
	m := memory.New("t", "1234")
	token := ready(t, m.Config())
	key := generate(t, token, keyspec.P256)
	m.Inject(memory.Fault{Op: wire.OpSign, Drop: true})
	if _, err := key.Sign(t.Context(), make([]byte, 31), crypto.SHA256); !errors.Is(err, hsm.ErrBadDigest) {
		t.Errorf("a short digest: %v", err)
	}
	if m.Started() != 1 {
		t.Error("the digest was sent to the token")
	}
	if _, err := token.Key(hsm.Ref{}, key.Public()); err == nil {
		t.Error("a key without a name")
	}
	if _, err := token.Key(hsm.Ref{Label: strings.Repeat("l", 1<<16)}, key.Public()); err == nil {
		t.Error("a label that no frame can carry")
	}
	if _, err := token.Key(hsm.Ref{Label: "l"}, "no key"); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a key that is none: %v", err)
	}
}

func TestSignAsksAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  memory.Fault
		err    error // what comes out; nil for a signature
		epochs int
	}{
		{"device error", memory.Fault{Code: ckrDeviceError}, nil, 2},
		{"device error after the effect", memory.Fault{Code: ckrDeviceError, After: true}, nil, 2},
		{"worker dies", memory.Fault{Drop: true}, nil, 2},
		{"worker dies after the effect", memory.Fault{Drop: true, After: true}, nil, 2},
		{"vendor's code", memory.Fault{Code: 0xFFFFFFFFFFFFFFFF}, nil, 2},
		{"worker dies twice", memory.Fault{Drop: true, Times: 2}, nil, 3},
		{"three times", memory.Fault{Code: ckrDeviceError, Times: 3}, hsm.ErrUnavailable, 4},
		{"data length", memory.Fault{Code: ckrDataLenRange}, errors.ErrUnsupported, 1}, // no sentinel of ours
		{"mechanism", memory.Fault{Code: ckrMechanismInvalid}, hsm.ErrUnsupported, 1},
		{"hangs", memory.Fault{Hang: make(chan struct{})}, nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := memory.New("t", "1234")
				if c.fault.Hang != nil {
					c.fault.Hang = make(chan struct{}) // of this bubble
				}
				token, err := hsm.Start(m.Config())
				if err != nil {
					t.Fatal(err)
				}
				defer closeToken(t, token)
				key := generate(t, token, keyspec.P256)
				c.fault.Op = wire.OpSign
				m.Inject(c.fault)
				err = sign(t, within(t, 20*time.Second), key)
				switch {
				case c.err == errors.ErrUnsupported:
					if code, ok := errors.AsType[*wire.Error](err); !ok || code.Code != c.fault.Code {
						t.Errorf("error %v, want code 0x%X", err, c.fault.Code)
					}
				case !errors.Is(err, c.err):
					t.Errorf("error %v, want %v", err, c.err)
				}
				err = sign(t, within(t, 20*time.Second), key)
				if err != nil { // what worked before is not unsupported, whatever the token says once
					t.Errorf("afterwards: %v", err)
				}
				if m.Started() != c.epochs {
					t.Errorf("%d workers, want %d", m.Started(), c.epochs)
				}
			})
		})
	}
}

func TestSignatureThatDoesNotVerifyIsNotReleased(t *testing.T) {
	for _, c := range []struct {
		mode hsm.VerifyMode
		spec keyspec.Spec
		held bool
	}{
		{"", keyspec.RSA2048, true},
		{hsm.VerifyRSA, keyspec.RSA2048, true},
		{hsm.VerifyRSA, keyspec.P256, false},
		{hsm.VerifyAll, keyspec.P256, true},
		{hsm.VerifyAll, keyspec.Ed25519, true},
		{hsm.VerifyNone, keyspec.RSA2048, false},
	} {
		t.Run(string(c.mode)+" "+string(c.spec), func(t *testing.T) {
			m := memory.New("t", "1234")
			cfg := m.Config()
			cfg.Verify = c.mode
			var log lockedBuffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			token := ready(t, cfg)
			key := generate(t, token, c.spec)
			m.Inject(memory.Fault{Op: wire.OpSign, Corrupt: true})
			opts := algorithms(key.Public())[0].opts
			sig, err := key.Sign(t.Context(), random(opts), opts)
			if errors.Is(err, hsm.ErrBadSignature) != c.held || (sig == nil) != c.held {
				t.Fatalf("signature %x, error %v; want it held back: %v", sig, err, c.held)
			}
			if strings.Contains(log.String(), "ALARM") != c.held {
				t.Errorf("the log is %q", log.String())
			}
			if err := sign(t, within(t, 20*time.Second), key); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if c.held != (m.Started() == 2) {
				t.Errorf("%d workers", m.Started())
			}
		})
	}
}

func TestKeyThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		token, err := hsm.Start(m.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		key := generate(t, token, keyspec.P256)
		m.Lose(hsm.Ref{Label: "test/p-256"})
		if err := sign(t, t.Context(), key); !errors.Is(err, hsm.ErrKeyNotFound) || errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("a lost key: %v", err)
		}
		// An outage is not an absence.
		m.Inject(memory.Fault{Op: wire.OpList, Code: ckrDeviceError, Times: 1 << 20})
		m.Drop()
		synctest.Wait()
		if err := sign(t, within(t, 10*time.Second), key); errors.Is(err, hsm.ErrKeyNotFound) || !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("an outage: %v", err)
		}
	})
}

// With S sessions, 1.5×S signatures are at the worker, the queue holds as many as it is told,
// and the next one is refused at once. A caller that gives up leaves the queue, not the slot.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := m.Config()
		cfg.Sessions, cfg.Queue = 2, 3
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		key := generate(t, token, keyspec.Ed25519)

		free := make(chan struct{})
		m.Inject(memory.Fault{Op: wire.OpSign, Hang: free, Times: 3})
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 6)
		var callers sync.WaitGroup
		for range 6 {
			callers.Go(func() { errs <- sign(t, ctx, key) })
		}
		synctest.Wait()
		if err := sign(t, ctx, key); !errors.Is(err, hsm.ErrOverloaded) {
			t.Fatalf("one too many: %v", err)
		} else if o, ok := errors.AsType[*hsm.OverloadedError](err); !ok || o.Queue != 3 || o.RetryAfter < 50*time.Millisecond || o.RetryAfter > 5*time.Second {
			t.Errorf("%+v does not say when to ask again", o)
		}
		cancel()
		callers.Wait()
		for range 6 {
			if err := <-errs; !errors.Is(err, hsm.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("a caller that gave up: %v", err)
			}
		}
		// The three slots are still taken, by calls that nobody waits for.
		short, done := context.WithTimeout(t.Context(), time.Second)
		defer done()
		if err := sign(t, short, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a session that hangs was given to another: %v", err)
		}
		close(free)
		if err := sign(t, t.Context(), key); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		if m.Started() != 1 {
			t.Errorf("%d workers, want 1", m.Started())
		}
	})
}

// While the token is away callers wait in the queue, and the queue is bounded too.
func TestQueueWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := m.Config()
		cfg.Queue = 3
		cfg.Metrics = hsm.NewMetrics()
		reg := prometheus.NewRegistry()
		reg.MustRegister(cfg.Metrics)
		waiting := func(want float64) {
			t.Helper()
			if got, ok := series(t, reg)["keysetd_queue_length{token=t}"]; !ok || got != want {
				t.Errorf("%v calls wait, want %v", got, want)
			}
		}
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		key := generate(t, token, keyspec.Ed25519)
		waiting(0)
		m.Inject(memory.Fault{Op: wire.OpOpen, Code: ckrDeviceError, Times: 20})
		m.Drop()
		synctest.Wait()
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if err := sign(t, within(t, 30*time.Second), key); err != nil {
					t.Errorf("a caller that waited: %v", err)
				}
			})
		}
		synctest.Wait()
		if err := sign(t, t.Context(), key); !errors.Is(err, hsm.ErrOverloaded) {
			t.Errorf("one too many: %v", err)
		} else if o, ok := errors.AsType[*hsm.OverloadedError](err); !ok || o.RetryAfter < time.Second {
			t.Errorf("%+v asks for more than the token is tried", o)
		}
		waiting(3)
		callers.Wait()
		waiting(0)
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
