package hsmtest_test

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// warmUp has every key sign once: a way to sign that never worked is not asked for again as soon
// when it takes the token down. A worker is lost too, so that what a first recovery needs is there.
func (w *world) warmUp() {
	w.kill()
	for _, key := range w.keys {
		if err := sign(within(w.t, 20*time.Second), key); err != nil {
			w.t.Error(err)
		}
	}
}

// suffer injects failures while callers sign and keys come and go.
func (w *world) suffer(failures int) {
	ctx, stop := context.WithCancel(w.t.Context())
	var users sync.WaitGroup
	for i := range w.callers {
		users.Go(func() { w.call(ctx, i) })
	}
	users.Go(func() { w.churn.run(ctx, w) })
	w.back("nothing")
	for range failures {
		if w.t.Failed() {
			break
		}
		what := next(w.random)
		what.inject(w)
		w.fault.Clear()
		w.back(what.kind)
		w.tally.rounds[what.kind]++
	}
	stop()
	users.Wait()
}

// call signs until ctx ends, with its own patience for each signature.
func (w *world) call(ctx context.Context, i int) {
	for n := i; ctx.Err() == nil; n++ {
		key := w.keys[n%len(w.keys)]
		patience := 50*time.Millisecond + mathrand.N(5*time.Second)
		patient, cancel := context.WithTimeout(ctx, patience)
		begun := time.Now()
		err := sign(patient, key)
		cancel()
		switch took := time.Since(begun); {
		case took > patience+10*time.Second:
			w.t.Errorf("a caller with %v of patience was kept for %v", patience, took)
		case err == nil:
			w.callers[i].Add(1)
			atomic.AddInt64(&w.tally.signatures, 1)
		case ctx.Err() != nil:
		case errors.Is(err, hsm.ErrKeyNotFound):
			w.t.Errorf("a key that is there is said not to be: %v", err)
		case !w.owed(err):
			w.t.Errorf("sign: %v", err)
		default:
			atomic.AddInt64(&w.tally.refused, 1)
		}
		pause(ctx, 5*time.Millisecond) // what is tested is not the machine
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// owed tells whether err is what a fault may come to: the token's loss, or its refusal of one
// request. A full queue would not be, for there are few callers.
func (w *world) owed(err error) bool {
	code, _ := failure(err)
	return errors.Is(err, hsm.ErrUnavailable) || code == ckrFunctionCanceled || code == ckrFunctionRejected
}

// churn makes and destroys keys, each of which is on record before it is asked for.
type churn struct {
	mu       sync.Mutex // held while a key is being made
	requests []hsm.GenerateRequest
	late     []string // CKA_IDs that the token makes when nobody waits any more
}

func (c *churn) request() hsm.GenerateRequest {
	id := make([]byte, 16)
	rand.Read(id)
	r := hsm.GenerateRequest{ID: id, Label: "churn", Spec: keyspec.P256, Usage: hsm.Sign}
	c.requests = append(c.requests, r)
	return r
}

func (c *churn) recorded(id []byte) bool {
	return slices.ContainsFunc(c.requests, func(r hsm.GenerateRequest) bool { return string(r.ID) == string(id) })
}

func (c *churn) run(ctx context.Context, w *world) {
	for ctx.Err() == nil {
		c.mu.Lock()
		r := c.request()
		patient, cancel := context.WithTimeout(ctx, 5*time.Second)
		o, err := w.token.Generate(patient, r)
		cancel()
		c.mu.Unlock()
		switch {
		case err == nil:
			w.tally.made++
			if string(o.ID) != string(r.ID) {
				w.t.Errorf("asked for the key with CKA_ID %x, got %x", r.ID, o.ID)
			}
			c.destroy(ctx, w, r)
		case ctx.Err() != nil:
		case w.owed(err):
			w.tally.cut++
		case errors.Is(err, hsm.ErrTemplate) || errors.Is(err, hsm.ErrKeyNotFound):
			w.t.Errorf("make a key: %v", err)
		default:
			w.t.Errorf("make a key, unexpectedly: %v", err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// destroy asks until it is told that nothing is left. What it must not do is to end with
// half of the key: settle would find it.
func (c *churn) destroy(ctx context.Context, w *world, r hsm.GenerateRequest) {
	for ctx.Err() == nil {
		patient, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := w.token.Destroy(patient, hsm.Ref{ID: r.ID, Label: r.Label})
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() == nil && !w.owed(err) {
			w.t.Errorf("destroy a key: %v", err)
			return
		}
	}
}

// settle compares the token with the records, as a program does that has just been started; removes
// what attempts left; and compares again.
func (w *world) settle() {
	left := 0
	for _, id := range w.churn.late { // those that the HSM still owes
		w.until("the key comes that was to be made later", func() bool {
			return slices.ContainsFunc(w.look(), func(o hsm.Object) bool { return string(o.ID) == id && o.Private })
		})
	}
	for _, o := range w.look() {
		switch {
		case nameless(o): // those are listed as one
			w.tally.nameless += int64(1 + o.Duplicates)
		case o.Duplicates > 0:
			w.t.Errorf("the key %s with CKA_ID %x is there %d times", o.Label, o.ID, 1+o.Duplicates)
		case w.there[string(o.ID)]:
		case !w.churn.recorded(o.ID):
			w.t.Errorf("nobody asked for the key %s with CKA_ID %x", o.Label, o.ID)
		default:
			left++
			if _, err := w.token.Destroy(within(w.t, 20*time.Second), hsm.Ref{ID: o.ID, Label: o.Label}); err != nil {
				w.t.Error(err)
			}
		}
	}
	if w.tally.nameless > w.tally.cut {
		w.t.Errorf("%d objects have no name, and %d attempts were cut off", w.tally.nameless, w.tally.cut)
	}
	for name, objects := range map[string][]hsm.Object{"a new token's first inventory": w.look(), "the inventory": inventory(w.t, w.token)} {
		objects = slices.DeleteFunc(objects, nameless)
		if len(objects) != len(w.keys) {
			w.t.Errorf("%s has %d keys, want %d", name, len(objects), len(w.keys))
		}
		for _, o := range objects {
			if !w.there[string(o.ID)] || !o.Private || !o.Public || o.Duplicates > 0 {
				w.t.Errorf("%s has %+v", name, o)
			}
		}
	}
	for _, key := range w.keys {
		if err := sign(within(w.t, 20*time.Second), key); err != nil {
			w.t.Error(err)
		}
	}
	w.t.Logf("%d keys: %d of %d recorded attempts had left one", len(w.keys), left, len(w.churn.requests))
}

// nameless objects are SoftHSM's: it makes an object before it writes the attributes, so that a process
// which ends between the two leaves one of which nobody can tell whose it is. They are no keys.
func nameless(o hsm.Object) bool { return len(o.ID) == 0 && o.Label == "" }

// look lists the token as a program does that has just been started, past the fault module.
func (w *world) look() []hsm.Object {
	token, err := hsm.Start(w.soft.Config())
	if err != nil {
		w.t.Error(err)
		return nil
	}
	defer token.Close(context.WithoutCancel(w.t.Context()))
	return inventory(w.t, token)
}

func inventory(t *testing.T, token *hsm.Token) []hsm.Object {
	objects, err := token.Objects(within(t, 20*time.Second), "")
	if err != nil {
		t.Error(err)
	}
	return objects
}
