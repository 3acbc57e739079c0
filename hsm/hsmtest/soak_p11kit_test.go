package hsmtest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/internal/keyspec"
)

// TestOutages: an HSM that is absent at the start, killed, and stopped, again and again, while callers sign. Each
// is told within his own time that the token is unavailable, and nobody helps it back.
func TestOutages(t *testing.T) {
	rounds, stopped := 1, 2*time.Second
	if soak {
		rounds, stopped = 5, 30*time.Second
	}
	p := hsmtest.NewP11Kit(t, hsmtest.SoftHSM(t))
	cfg := p.Config()
	cfg.Limits = hsm.Limits{Open: time.Second, Sign: 300 * time.Millisecond, Finalise: 300 * time.Millisecond}
	var keys []*hsm.Key
	var refs []hsm.Ref
	maker := start(t, cfg)
	for _, spec := range []keyspec.Spec{keyspec.P256, keyspec.RSA2048} {
		key, ref := generate(t, maker, spec)
		keys, refs = append(keys, key), append(refs, ref)
	}
	if err := maker.Close(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}

	p.Kill()
	token := start(t, cfg)
	for i, ref := range refs {
		key, err := token.Key(ref, keys[i].Public())
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	o := &outage{t: t, keys: keys}
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() { o.call(ctx, i) })
	}
	o.refusedThenSigned("absent at start", 500*time.Millisecond, func() { p.Restart(t) })
	for range rounds {
		p.Kill()
		o.refusedThenSigned("killed", 500*time.Millisecond, func() { p.Restart(t) })
		p.Stop()
		o.refusedThenSigned("stopped", stopped, p.Cont)
	}
	stop()
	callers.Wait()
	if objects := inventory(t, token); len(objects) != len(keys) {
		t.Errorf("%d keys afterwards, want %d", len(objects), len(keys))
	}
	t.Logf("%d signatures, %d refused, the latest of them %v after the caller's time was over", o.signed.Load(), o.refused.Load(), time.Duration(o.late.Load()).Round(time.Millisecond))
}

type outage struct {
	t                     *testing.T
	keys                  []*hsm.Key
	signed, refused, late atomic.Int64
}

// refusedThenSigned: while the HSM is away callers are refused and nobody gets a signature; when it is
// back all is well again.
func (o *outage) refusedThenSigned(how string, long time.Duration, back func()) {
	refused := o.refused.Load()
	time.Sleep(long)
	o.until(how+": callers are told", func() bool { return o.refused.Load() >= refused+8 })
	signed := o.signed.Load()
	back()
	begun := time.Now()
	o.until(how+": callers sign again", func() bool { return o.signed.Load() >= signed+16 })
	took := time.Since(begun)
	if took > backWithin() {
		o.t.Errorf("%s: signing again took %v, longer than %v", how, took, backWithin())
	}
	o.t.Logf("%s: signing again after %v", how, took.Round(time.Millisecond))
}

func (o *outage) until(what string, ok func() bool) {
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatal("not within 30 s: " + what)
		}
	}
}

func (o *outage) call(ctx context.Context, i int) {
	for n := i; ctx.Err() == nil; n++ {
		patience := time.Duration(50+50*(n%8)) * time.Millisecond
		patient, cancel := context.WithTimeout(ctx, patience)
		begun := time.Now()
		err := sign(patient, o.keys[n%len(o.keys)])
		cancel()
		late := time.Since(begun) - patience
		switch {
		case err == nil:
			o.signed.Add(1)
		case ctx.Err() != nil:
			return
		case !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrKeyNotFound):
			o.t.Errorf("sign: %v, want ErrUnavailable", err)
		default:
			o.refused.Add(1)
			for old := o.late.Load(); int64(late) > old && !o.late.CompareAndSwap(old, int64(late)); old = o.late.Load() {
			}
		}
		if late > 10*time.Second*slowness {
			o.t.Errorf("a caller with %v of patience was kept for %v longer", patience, late)
		}
		pause(ctx, 5*time.Millisecond)
	}
}
