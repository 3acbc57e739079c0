package hsm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
)

const ckrGeneralError, ckrTokenNotPresent = 0x05, 0xE0

// marked is a Config with a marker on disk and a PIN whose source is known.
func marked(t *testing.T, m *memory.Token) hsm.Config {
	t.Helper()
	cfg := m.Config()
	cfg.Marker = &hsm.PINMarker{Path: filepath.Join(t.TempDir(), "pin-marker")}
	cfg.PINSource = func() (string, error) { return "file 1", nil }
	return cfg
}

func pin(s string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(s), nil }
}

// expect starts a token, waits a minute for it to come up, and closes it.
func expect(t *testing.T, cfg hsm.Config, want error) {
	t.Helper()
	// What outlives the token is on disk.
	cfg.Marker = &hsm.PINMarker{Path: cfg.Marker.Path}
	token, err := hsm.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closeToken(t, token)
	if err := token.Ready(within(t, time.Minute)); !errors.Is(err, want) {
		t.Errorf("the token is ready: %v, want %v", err, want)
	} else if err != nil && strings.Contains(err.Error()+token.Status().Problem, "wrong-one") {
		t.Errorf("%v holds the PIN", err)
	}
}

func TestWrongPINIsTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		cfg.PIN = pin("wrong-one")
		for range 3 {
			expect(t, cfg, hsm.ErrPINBlocked)
		}
		cfg.PIN = pin("1234") // nobody said that it is right now
		expect(t, cfg, hsm.ErrPINBlocked)
		if m.Logins() != 1 || m.Started() != 1 {
			t.Fatalf("the token counts %d attempts by %d workers, want one", m.Logins(), m.Started())
		}

		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		synctest.Wait()
		if s := token.Status(); !strings.Contains(s.Problem, "keysetctl pin retry") {
			t.Errorf("the problem %q does not say what to do", s.Problem)
		}
		if err := token.RetryPIN(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := token.Ready(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(cfg.Marker.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the marker is still there: %v", err)
		}
		if err := token.RetryPIN(t.Context()); err != nil { // nothing blocks
			t.Error(err)
		}
		if _, err := os.Stat(cfg.Marker.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a retry that nobody needed left a permit: %v", err)
		}
	})
}

// A retry allows one attempt, not more.
func TestRetryWithAWrongPIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		cfg.PIN = pin("wrong-one")
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		synctest.Wait()
		for want := 2; want <= 3; want++ {
			if err := token.RetryPIN(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if m.Logins() != want {
				t.Fatalf("%d attempts, want %d", m.Logins(), want)
			}
		}
	})
}

// A retry that comes while a login is under way, which then succeeds, leaves no permit for
// a later one.
func TestRetryDuringALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		answer := make(chan struct{})
		m.Inject(memory.Fault{Op: wire.OpLogin, Hang: answer})
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		synctest.Wait()
		go func() {
			time.Sleep(time.Second)
			close(answer)
		}()
		if err := token.RetryPIN(t.Context()); err != nil {
			t.Error(err)
		}
		if err := token.Ready(within(t, time.Minute)); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(cfg.Marker.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a permit is left: %v", err)
		}
	})
}

// Removing the marker by hand is a retry too, while the daemon sees it.
func TestRemovedMarkerResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		var right atomic.Bool
		cfg.PIN = func(context.Context) ([]byte, error) {
			if right.Load() {
				return []byte("1234"), nil
			}
			return []byte("wrong-one"), nil
		}
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		synctest.Wait()
		right.Store(true)
		if err := os.Remove(cfg.Marker.Path); err != nil {
			t.Fatal(err)
		}
		if err := token.Ready(within(t, 10*time.Second)); err != nil {
			t.Error(err)
		}
	})
}

// It is one attempt too.
func TestRemovedMarkerWithAWrongPIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		cfg.PIN = pin("wrong-one")
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		synctest.Wait()
		if err := os.Remove(cfg.Marker.Path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if m.Logins() != 2 {
			t.Errorf("%d attempts, want 2", m.Logins())
		}
	})
}

// Somebody else's wrong PINs are not added to, and when they log in we do too.
func TestPINFlagsBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		other := marked(t, m)
		other.PIN = pin("wrong-one")
		expect(t, other, hsm.ErrPINBlocked)

		cfg := marked(t, m)
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		if err := token.Ready(within(t, time.Hour)); !errors.Is(err, hsm.ErrPINBlocked) || m.Logins() != 1 {
			t.Fatalf("%v after %d attempts; want ErrPINBlocked after one", err, m.Logins())
		}
		if err := token.RetryPIN(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := token.Ready(within(t, 500*time.Millisecond)); err != nil { // at once
			t.Error(err)
		}
	})
}

// What a login that failed otherwise leaves behind, with a PIN that was right before and
// with one that was not.
func TestLoginThatWasCutOff(t *testing.T) {
	for _, c := range []struct {
		name             string
		fault            memory.Fault
		proven, unproven error
	}{
		{"worker dies", memory.Fault{Drop: true}, nil, hsm.ErrPINBlocked},
		{"worker dies after the effect", memory.Fault{Drop: true, After: true}, nil, hsm.ErrPINBlocked},
		{"device error", memory.Fault{Code: ckrDeviceError}, nil, hsm.ErrPINBlocked},
		{"general error", memory.Fault{Code: ckrGeneralError}, nil, hsm.ErrPINBlocked},
		{"token not present", memory.Fault{Code: ckrTokenNotPresent}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.fault.Op = wire.OpLogin
				for _, proven := range []bool{true, false} {
					m := memory.New("t", "1234")
					cfg := marked(t, m)
					want := c.unproven
					if proven {
						expect(t, cfg, nil)
						want = c.proven
					}
					m.Inject(c.fault)
					expect(t, cfg, want)
					cfg.PINSource = func() (string, error) { return "file 2", nil }
					expect(t, cfg, want)
				}
			})
		})
	}
}

// The PIN was right, then changed on the token, and the worker dies while it is told so: the
// token's flag is what stops us.
func TestProvenPINThatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		expect(t, cfg, nil)
		m.SetPIN("5678")
		expect(t, cfg, hsm.ErrPINBlocked)
		expect(t, cfg, hsm.ErrPINBlocked)
		if m.Logins() != 2 {
			t.Errorf("%d attempts, want the right one and a wrong one", m.Logins())
		}
	})
}

// A PIN that was right before is tried once more after a login whose outcome nobody knows,
// and then no more: it may have been changed on the token.
func TestHiddenRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		expect(t, cfg, nil)
		attempts := 0
		cfg.PIN = func(context.Context) ([]byte, error) { attempts++; return []byte("1234"), nil }
		// A token that reports each refusal as a device error and shows no flag.
		m.Inject(memory.Fault{Op: wire.OpLogin, Times: 1 << 20, Code: 0x30})
		for range 3 {
			expect(t, cfg, hsm.ErrPINBlocked)
		}
		if attempts != 2 {
			t.Errorf("%d attempts after the one that succeeded, want 2", attempts)
		}
	})
}

// An attempt that the token never looked at does not wipe out one of which nobody knows.
func TestUntriedForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		expect(t, cfg, nil)
		attempts := 0
		cfg.PIN = func(context.Context) ([]byte, error) { attempts++; return []byte("1234"), nil }
		for range 100 {
			m.Inject(memory.Fault{Op: wire.OpLogin, Code: 0x30}) // DEVICE_ERROR: it may hide a refusal
			m.Inject(memory.Fault{Op: wire.OpLogin, Code: 0xE0}) // TOKEN_NOT_PRESENT: it was not looked at
		}
		expect(t, cfg, hsm.ErrPINBlocked)
		if attempts > 4 { // two of which nobody knows, and those that were not looked at between
			t.Errorf("%d attempts", attempts)
		}
	})
}

// Without its marker on disk nothing is tried, and the PIN is not kept for later.
func TestMarkerThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		// Room for the lock's name in NAME_MAX, but not for that of a new file.
		cfg.Marker.Path = filepath.Join(t.TempDir(), strings.Repeat("m", 245))
		var read [][]byte
		cfg.PIN = func(context.Context) ([]byte, error) {
			read = append(read, []byte("1234"))
			return read[len(read)-1], nil
		}
		expect(t, cfg, syscall.ENAMETOOLONG)
		if m.Logins() != 0 || len(read) == 0 {
			t.Errorf("%d attempts without a marker, the PIN read %d times", m.Logins(), len(read))
		}
		for _, b := range read {
			if string(b) != "\x00\x00\x00\x00" {
				t.Errorf("the PIN is still in memory: %q", b)
			}
		}
		cfg.Marker.Path = filepath.Join(t.TempDir(), "absent", "pin-marker")
		expect(t, cfg, os.ErrNotExist)
		if m.Logins() != 0 {
			t.Errorf("%d attempts without a directory for the marker", m.Logins())
		}
	})
}

func TestPINIsZeroed(t *testing.T) {
	m := memory.New("t", "1234")
	secret := []byte("1234")
	cfg := m.Config()
	cfg.PIN = func(context.Context) ([]byte, error) { return secret, nil }
	token := ready(t, cfg)
	closeToken(t, token)
	if string(secret) != "\x00\x00\x00\x00" {
		t.Errorf("the PIN is still in memory: %q", secret)
	}
}

// A PIN file that is replaced while it is read would prove the wrong PIN.
func TestPINSourceThatChangesWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := marked(t, m)
		n := 0
		cfg.PINSource = func() (string, error) { n++; return strings.Repeat("x", n), nil }
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		time.Sleep(time.Minute)
		if m.Logins() != 0 {
			t.Errorf("%d logins", m.Logins())
		}
	})
}
