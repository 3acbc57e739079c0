package hsmtest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// ckrFunctionCanceled is a failure that ends no epoch: the same worker goes on.
const ckrFunctionCanceled = 0x50

// faulty is a token behind the fault module, with a key on it.
func faulty(t *testing.T) (*hsmtest.Faulty, *hsm.Token, *hsm.Key) {
	t.Helper()
	f := hsmtest.NewFaulty(t, hsmtest.SoftHSM(t))
	token := start(t, f.Config())
	key, _ := generate(t, token, keyspec.P256)
	return f, token, key
}

// failure is the CKR of err and the function that gave it.
func failure(err error) (uint64, string) {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code, e.Function
	}
	return 0, ""
}

// An exact number of calls fails, whatever the threads.
func TestFaultFail(t *testing.T) {
	f, token, key := faulty(t)
	before := token.Status()
	f.Fail("C_Sign", ckrFunctionCanceled, 3)
	f.Fail("C_SignInit", ckrFunctionCanceled, 4)
	f.Fail("C_Sign", ckrFunctionCanceled, 5)
	var failed [2]atomic.Int64
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for range 4 {
				err := sign(within(t, 20*time.Second), key)
				switch code, function := failure(err); {
				case err == nil:
				case code == ckrFunctionCanceled && function == "C_Sign":
					failed[0].Add(1)
				case code == ckrFunctionCanceled && function == "C_SignInit":
					failed[1].Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if failed[0].Load() != 8 || failed[1].Load() != 4 || f.Taken() != 12 {
		t.Errorf("%d C_Sign and %d C_SignInit failed, %d faults; want 8, 4, 12", failed[0].Load(), failed[1].Load(), f.Taken())
	}
	if now := token.Status(); now.WorkerPID != before.WorkerPID {
		t.Error("the worker is another one")
	}
}

// The control file is the HSM's, not the process's: what one worker took is taken.
func TestFaultOutlivesTheWorker(t *testing.T) {
	f, token, key := faulty(t)
	before := token.Status().WorkerPID
	f.Fail("C_Sign", hsmtest.CKRDeviceError, 1)
	if err := sign(within(t, 20*time.Second), key); err != nil {
		t.Errorf("asked for once more in the next epoch: %v", err)
	}
	if f.Taken() != 1 || token.Status().WorkerPID == before {
		t.Errorf("%d faults, worker %d as before; want 1 and a new worker", f.Taken(), before)
	}
}

func TestFaultUntilClear(t *testing.T) {
	f, _, key := faulty(t)
	f.Fail("C_Sign", ckrFunctionCanceled, 0)
	for range 3 {
		if code, _ := failure(sign(within(t, 20*time.Second), key)); code != ckrFunctionCanceled {
			t.Errorf("got CKR 0x%X", code)
		}
	}
	f.Clear()
	if err := sign(within(t, 20*time.Second), key); err != nil {
		t.Error(err)
	}
	for range 100 { // faults that have happened make place for others
		f.Fail("C_Sign", ckrFunctionCanceled, 1)
		if code, _ := failure(sign(within(t, 20*time.Second), key)); code != ckrFunctionCanceled {
			t.Fatalf("got CKR 0x%X", code)
		}
	}
}

// The work is done although an error comes back: the orphan that invariant 4 is about.
func TestFaultAfter(t *testing.T) {
	f, token, _ := faulty(t)
	f.After("C_GenerateKeyPair", hsmtest.CKRDeviceError, 1)
	r := request("orphan", keyspec.P256)
	_, err := token.Generate(within(t, 20*time.Second), r)
	if code, _ := failure(err); code != hsmtest.CKRDeviceError || !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("generate: %v", err)
	}
	orphans, err := token.Objects(within(t, 20*time.Second), "orphan")
	if err != nil || len(orphans) != 1 || string(orphans[0].ID) != string(r.ID) {
		t.Errorf("the token has %+v, %v, want the orphan", orphans, err)
	}
}

func TestFaultDelay(t *testing.T) {
	f, _, key := faulty(t)
	const d = 150 * time.Millisecond
	f.Delay("C_Sign", d)
	for range 2 {
		begun := time.Now()
		if err := sign(within(t, 20*time.Second), key); err != nil || time.Since(begun) < d {
			t.Errorf("signed in %v, %v, want at least %v", time.Since(begun), err, d)
		}
	}
	f.Clear()
	taken := f.Taken()
	if err := sign(within(t, 20*time.Second), key); err != nil || f.Taken() != taken {
		t.Errorf("after Clear: %v, %d faults", err, f.Taken()-taken)
	}
}

// A call that hangs is out of the caller's way when his time is over, and done when it is let go.
func TestFaultHang(t *testing.T) {
	f, token, key := faulty(t)
	before := token.Status().WorkerPID
	for _, release := range []func(){f.Release, f.Clear} {
		f.Hang("C_Sign")
		taken := f.Taken()
		impatient, cancel := context.WithCancel(t.Context())
		gaveUp, signed := make(chan error, 1), make(chan error, 1)
		go func() { gaveUp <- sign(impatient, key) }()
		go func() { signed <- sign(t.Context(), key) }()
		f.Await(t, taken+2)
		cancel()
		if err := <-gaveUp; !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("the caller who gave up: %v", err)
		}
		select {
		case err := <-signed:
			t.Errorf("C_Sign does not hang: %v", err)
		case <-time.After(50 * time.Millisecond): // what could come was long due
		}
		release()
		if err := <-signed; err != nil {
			t.Error(err)
		}
		if err := sign(within(t, 5*time.Second), key); err != nil || f.Taken() != taken+2 {
			t.Errorf("afterwards: %v, %d calls hung", err, f.Taken()-taken)
		}
	}
	if now := token.Status().WorkerPID; now != before {
		t.Error("the worker is another one")
	}
}

// A worker that crashes takes nothing along.
func TestFaultCrash(t *testing.T) {
	f, token, key := faulty(t)
	f.Crash("C_GenerateKeyPair")
	if _, err := token.Generate(within(t, 20*time.Second), request("crash", keyspec.P256)); !errors.Is(err, wire.ErrWorkerGone) {
		t.Errorf("generate: %v, want ErrWorkerGone", err)
	}
	if err := sign(within(t, 20*time.Second), key); err != nil || f.Taken() != 1 {
		t.Errorf("sign afterwards: %v; %d faults, want 1", err, f.Taken())
	}
}

// The HSM makes the key when the worker that asked for it is gone.
func TestFaultLater(t *testing.T) {
	f, token, _ := faulty(t)
	for _, r := range []hsm.GenerateRequest{
		request("later/ec", keyspec.P384),
		request("later/ed", keyspec.Ed25519),
		{ID: []byte("decrypts"), Label: "later/rsa", Spec: keyspec.RSA2048, Usage: hsm.Decrypt},
	} {
		const d = time.Second // longer than a look takes
		over := f.Later(t, d)
		begun := time.Now()
		_, err := token.Generate(within(t, 20*time.Second), r)
		if code, function := failure(err); code != hsmtest.CKRDeviceError || function != "C_GenerateKeyPair" {
			t.Errorf("generate: %v", err)
		}
		if _, ok := look(t, f.Config(), r); ok && time.Since(begun) < d {
			t.Errorf("the key was there after %v, want %v", time.Since(begun), d)
		}
		<-over
		if late := time.Since(begun); late < d {
			t.Errorf("the key was made after %v, want %v", late, d)
		}
		if o, ok := look(t, f.Config(), r); !ok || o.Label != r.Label || hsm.CheckAttributes(o, r.Usage) != nil {
			t.Errorf("asked for %+v, the token made %+v", r, o)
		}
	}
}

// look finds the key on the token, both its halves, as a program that has just been started. SoftHSM shows
// the public half of a key that is being made before the private one.
func look(t *testing.T, cfg hsm.Config, r hsm.GenerateRequest) (hsm.Object, bool) {
	t.Helper()
	token, err := hsm.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close(context.WithoutCancel(t.Context()))
	objects, err := token.Objects(within(t, 20*time.Second), r.Label)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if string(o.ID) == string(r.ID) && o.Private {
			return o, true
		}
	}
	return hsm.Object{}, false
}

// Decryptions and derivations that are under way when the worker dies are asked for once more.
func TestFaultInDecryption(t *testing.T) {
	f := hsmtest.NewFaulty(t, hsmtest.SoftHSM(t))
	token := start(t, f.Config())
	for _, c := range []struct {
		spec     keyspec.Spec
		usage    hsm.Usage
		function string
		hash     crypto.Hash
	}{{keyspec.RSA2048, hsm.Decrypt, "C_Decrypt", crypto.SHA1}, {keyspec.P256, hsm.Derive, "C_DeriveKey", 0}} {
		r := request("opens/"+string(c.usage), c.spec)
		r.Usage = c.usage
		o, err := token.Generate(within(t, 20*time.Second), r)
		if err != nil {
			t.Fatal(err)
		}
		key := keyOf(t, token, o, hsm.Ref{ID: r.ID, Label: r.Label})
		for _, fault := range []func(){
			func() { f.Crash(c.function) },
			func() { f.Fail(c.function, hsmtest.CKRDeviceError, 1) },
			func() { f.After(c.function, hsmtest.CKRSessionHandleInvalid, 1) },
		} {
			if err := key.ProbeDecrypt(within(t, 20*time.Second), c.hash); err != nil {
				t.Fatal(err)
			}
			before, taken := token.Status().WorkerPID, f.Taken()
			fault()
			var callers sync.WaitGroup
			for range 12 { // more than there are sessions
				callers.Go(func() {
					if err := open(within(t, 20*time.Second), key); err != nil {
						t.Errorf("%s: %v", c.function, err)
					}
				})
			}
			callers.Wait()
			if token.Status().WorkerPID == before || f.Taken() != taken+1 {
				t.Errorf("%s: %d faults, the worker is the same: %v", c.function, f.Taken()-taken, token.Status().WorkerPID == before)
			}
		}
		// What the module says of a ciphertext ends nothing.
		before := token.Status().WorkerPID
		if c.function == "C_Decrypt" {
			f.Fail(c.function, hsmtest.CKRGeneralError, 3)
			for range 3 {
				if err := open(within(t, 20*time.Second), key); !errors.Is(err, hsm.ErrDecrypt) {
					t.Errorf("refused: %v", err)
				}
			}
		}
		if err := open(within(t, 20*time.Second), key); err != nil || token.Status().WorkerPID != before {
			t.Errorf("afterwards: %v, the same worker: %v", err, token.Status().WorkerPID == before)
		}
	}
}

// open has key decrypt something that was encrypted to it, by SHA-1 or ECDH.
func open(ctx context.Context, key *hsm.Key) error {
	var got, want []byte
	var err error
	if pub, ok := key.Public().(*rsa.PublicKey); ok {
		want = []byte("plaintext")
		sealed, sealErr := rsa.EncryptOAEP(crypto.SHA1.New(), rand.Reader, pub, want, nil)
		if sealErr != nil {
			return sealErr
		}
		got, err = key.Decrypt(ctx, sealed, &rsa.OAEPOptions{Hash: crypto.SHA1})
	} else {
		ours, makeErr := ecdh.P256().GenerateKey(rand.Reader)
		theirs, curveErr := key.Public().(*ecdsa.PublicKey).ECDH()
		if err := errors.Join(makeErr, curveErr); err != nil {
			return err
		}
		want, _ = ours.ECDH(theirs)
		got, err = key.ECDH(ctx, ours.PublicKey())
	}
	if err == nil && !bytes.Equal(got, want) {
		return errors.New("it was decrypted to something else")
	}
	return err
}
