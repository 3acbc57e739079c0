package hsm_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
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

func TestTokenComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		var changes atomic.Int32
		cfg := m.Config()
		cfg.OnChange = func() { changes.Add(1) }
		m.Inject(memory.Fault{Op: wire.OpOpen, Code: ckrDeviceError, Times: 5})
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)

		err = token.Ready(within(t, 10*time.Millisecond))
		if !errors.Is(err, hsm.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "C_GetTokenInfo") {
			t.Errorf("while down: %v; want the reason in it", err)
		}
		if s := token.Status(); s.Up || !strings.Contains(s.Problem, "CKR_DEVICE_ERROR") || !strings.Contains(s.Problem, "trying again in") || s.Info.Label != "" {
			t.Errorf("status while down: %+v", s)
		}
		if err := token.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		up := token.Status()
		if !up.Up || up.Problem != "" || up.Info.Label != "t" || changes.Load() != 1 {
			t.Errorf("status while up: %+v after %d changes", up, changes.Load())
		}
		time.Sleep(time.Hour)
		m.Inject(memory.Fault{Op: wire.OpOpen, Code: ckrDeviceError, Times: 3})
		m.Drop()
		synctest.Wait()
		down := token.Status()
		if down.Up || !down.Since.After(up.Since) || down.Info.Label != "t" || changes.Load() != 2 {
			t.Errorf("status after the worker died: %+v after %d changes", down, changes.Load())
		}
		if err := token.Ready(t.Context()); err != nil || changes.Load() != 3 {
			t.Errorf("up again: %v after %d changes", err, changes.Load())
		}
	})
}

func TestAttemptTellsOfTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := m.Config()
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := token.Attempt(t.Context()); err != nil || !token.Status().Up {
			t.Errorf("a token that is well: %v", err)
		}
		closeToken(t, token)
		m.Inject(memory.Fault{Op: wire.OpOpen, Code: ckrDeviceError})
		token, err = hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		err = token.Attempt(t.Context())
		if code, ok := errors.AsType[*wire.Error](err); !ok || code.Code != ckrDeviceError || !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("a token that is not: %v", err)
		}
	})
}

// However long the token was away, it is back within two seconds of its return.
func TestBackSoonAfterALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		token, err := hsm.Start(m.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		m.Inject(memory.Fault{Op: wire.OpOpen, Code: ckrDeviceError, Times: 1 << 20})
		m.Drop()
		time.Sleep(10 * time.Minute)
		if token.Status().Up {
			t.Fatal("it is up without a token")
		}
		m.Clear()
		if err := token.Ready(within(t, 2*time.Second)); err != nil {
			t.Error(err)
		}
	})
}

// A module that hangs while it is opened is ended with its worker.
func TestHangWhileStarting(t *testing.T) {
	for _, op := range []wire.Op{wire.OpOpen, wire.OpLogin, wire.OpList} {
		t.Run(op.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := memory.New("t", "1234")
				cfg := m.Config()
				cfg.PINSource = func() (string, error) { return "same", nil }
				cfg.Marker = new(hsm.PINMarker)
				first, err := hsm.Start(cfg) // proves the PIN
				if err != nil {
					t.Fatal(err)
				}
				if err := first.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				closeToken(t, first)

				m.Inject(memory.Fault{Op: op, Hang: make(chan struct{})})
				token, err := hsm.Start(cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer closeToken(t, token)
				if err := token.Ready(within(t, 5*time.Minute)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// deaf is a worker that reads nothing, so that even telling it something blocks.
type deaf struct {
	conn   net.Conn
	exited chan struct{}
	kill   sync.Once
}

func (d *deaf) Conn() io.ReadWriteCloser { return d.conn }
func (d *deaf) PID() int                 { return 0 }
func (d *deaf) Kill()                    { d.kill.Do(func() { d.conn.Close(); close(d.exited) }) }
func (d *deaf) Exited() <-chan struct{}  { return d.exited }

func TestWorkerThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := m.Config()
		first := true
		cfg.Launch = func(ctx context.Context) (hsm.Worker, error) {
			if !first {
				return m.Launch(ctx)
			}
			first = false
			ours, _ := net.Pipe()
			return &deaf{conn: ours, exited: make(chan struct{})}, nil
		}
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		if err := token.Ready(within(t, 5*time.Minute)); err != nil {
			t.Error(err)
		}
	})
}

// Closing waits for nothing that hangs, and ends what is under way.
func TestCloseWhileCallsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		token, err := hsm.Start(m.Config())
		if err != nil {
			t.Fatal(err)
		}
		key := generate(t, token, keyspec.Ed25519)
		m.Inject(memory.Fault{Op: wire.OpSign, Hang: make(chan struct{})})
		m.Inject(memory.Fault{Op: wire.OpClose, Hang: make(chan struct{})})
		var caller sync.WaitGroup
		caller.Go(func() {
			if err := sign(t, t.Context(), key); !errors.Is(err, hsm.ErrClosed) {
				t.Errorf("in flight: %v, want ErrClosed", err)
			}
		})
		synctest.Wait()
		closeToken(t, token)
		caller.Wait()
		closeToken(t, token) // again is no harm
		if err := sign(t, t.Context(), key); !errors.Is(err, hsm.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if err := token.Ready(t.Context()); !errors.Is(err, hsm.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if token.Status().Up {
			t.Error("it is up after Close")
		}
	})
}

func TestWrongSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		var serial atomic.Value
		serial.Store("")
		remembered := func() string { return serial.Load().(string) }
		cfg := m.Config()
		cfg.Serial = remembered
		cfg.RememberSerial = func(s string) error { serial.Store(s); return nil }
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := token.Ready(t.Context()); err != nil || remembered() != token.Status().Info.Serial {
			t.Fatalf("%v; remembered %q", err, remembered())
		}
		closeToken(t, token)

		m.SetSerial("another")
		logins := m.Logins()
		token, err = hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		err = token.Ready(within(t, time.Minute))
		if !errors.Is(err, hsm.ErrWrongSerial) || !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("another token: %v", err)
		}
		if m.Logins() != logins || remembered() == "another" {
			t.Errorf("%d logins to it, remembered is %q", m.Logins()-logins, remembered())
		}
		serial.Store("another") // the operator accepts it
		if err := token.Ready(within(t, time.Minute)); err != nil {
			t.Error(err)
		}
	})
}

// A serial number that cannot be remembered keeps the token down: it is tried again.
func TestSerialThatIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		full := errors.New("disk full")
		var attempts atomic.Int32
		cfg := m.Config()
		cfg.Serial = func() string { return "" }
		cfg.RememberSerial = func(string) error {
			if attempts.Add(1) < 3 {
				return full
			}
			return nil
		}
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		if err := token.Ready(within(t, time.Millisecond)); !errors.Is(err, full) {
			t.Errorf("%v, want the disk to be named", err)
		}
		if err := token.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Callers see a delay, not an error, when workers die under load. Nothing is left afterwards.
func TestDropsUnderLoadLeaveNothing(t *testing.T) {
	testLeavesNothing(t, func() {
		m := memory.New("t", "1234")
		token := ready(t, m.Config())
		key := generate(t, token, keyspec.P256)
		stop := make(chan struct{})
		var signed [8]atomic.Int64
		var callers sync.WaitGroup
		for i := range signed {
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := sign(t, within(t, 10*time.Second), key); err != nil {
						t.Errorf("a caller: %v", err)
						return
					}
					signed[i].Add(1)
				}
			})
		}
		// Everyone has signed twice since the last drop, so nobody is in his second attempt.
		progress := func() {
			deadline := time.Now().Add(10 * time.Second)
			for i := range signed {
				for since := signed[i].Load(); signed[i].Load() < since+2 && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
			}
		}
		for range 5 {
			progress()
			m.Drop()
		}
		progress()
		close(stop)
		callers.Wait()
		closeToken(t, token)
	})
}

// testLeavesNothing runs f and waits until descriptors and goroutines are as before.
func testLeavesNothing(t *testing.T, f func()) {
	t.Helper()
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	f()
	deadline := time.Now().Add(10 * time.Second)
	for descriptors() > fds || runtime.NumGoroutine() > goroutines {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d descriptors, were %d; %d goroutines, were %d\n%s", descriptors(), fds, runtime.NumGoroutine(), goroutines,
				stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}
