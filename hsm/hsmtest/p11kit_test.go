package hsmtest_test

import (
	"errors"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/internal/keyspec"
)

// An HSM that is gone is unavailable, and no key is missing; when it is back its keys sign.
func TestP11KitKilledAndBack(t *testing.T) {
	p := hsmtest.NewP11Kit(t, hsmtest.SoftHSM(t))
	token := start(t, p.Config())
	key, ref := generate(t, token, keyspec.P256)
	p.Kill()
	if err := sign(within(t, 300*time.Millisecond), key); !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrKeyNotFound) {
		t.Errorf("sign while it is gone: %v, want ErrUnavailable", err)
	}
	if _, err := token.Objects(within(t, 300*time.Millisecond), ""); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("list while it is gone: %v, want ErrUnavailable", err)
	}
	p.Restart(t)
	if err := sign(within(t, 20*time.Second), key); err != nil {
		t.Errorf("sign when it is back: %v", err)
	}
	if o, err := token.Objects(within(t, 20*time.Second), ref.Label); err != nil || len(o) != 1 {
		t.Errorf("list when it is back: %+v, %v", o, err)
	}
}

// Calls to an HSM that does not answer end with their callers' patience, and go on with it.
func TestP11KitStopped(t *testing.T) {
	p := hsmtest.NewP11Kit(t, hsmtest.SoftHSM(t))
	token := start(t, p.Config())
	key, _ := generate(t, token, keyspec.P256)
	before := token.Status().WorkerPID
	p.Stop()
	begun := time.Now()
	if err := sign(within(t, 300*time.Millisecond), key); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("sign while it is stopped: %v, want ErrUnavailable", err)
	}
	if took := time.Since(begun); took < 300*time.Millisecond || took > 5*time.Second {
		t.Errorf("the caller waited for %v", took)
	}
	p.Cont()
	if err := sign(within(t, 20*time.Second), key); err != nil {
		t.Errorf("sign when it goes on: %v", err)
	}
	if token.Status().WorkerPID != before {
		t.Error("the worker is another one")
	}
}

func TestP11KitAbsentAtStart(t *testing.T) {
	p := hsmtest.NewP11Kit(t, hsmtest.SoftHSM(t))
	p.Kill()
	token := start(t, p.Config())
	if err := token.Attempt(within(t, 20*time.Second)); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("without the server: %v, want ErrUnavailable", err)
	}
	p.Restart(t)
	if err := token.Ready(within(t, 20*time.Second)); err != nil {
		t.Error(err)
	}
}
