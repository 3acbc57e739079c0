package hsm_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// undead is a worker in a system call that cannot be interrupted.
type undead struct {
	conn   net.Conn
	pid    int
	exited chan struct{}
}

func (u *undead) Conn() io.ReadWriteCloser { return u.conn }
func (u *undead) PID() int                 { return u.pid }
func (u *undead) Kill()                    { u.conn.Close() }
func (u *undead) Exited() <-chan struct{}  { return u.exited }

func TestWorkersThatCannotBeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		var started []*undead
		var well atomic.Bool
		cfg := m.Config()
		cfg.Metrics = hsm.NewMetrics()
		reg := prometheus.NewRegistry()
		reg.MustRegister(cfg.Metrics)
		cfg.Unkillable = 2
		cfg.Limits.Open = time.Second
		cfg.Launch = func(ctx context.Context) (hsm.Worker, error) {
			if well.Load() {
				return m.Launch(ctx)
			}
			ours, _ := net.Pipe()
			u := &undead{conn: ours, pid: 1000 + len(started), exited: make(chan struct{})}
			started = append(started, u)
			return u, nil
		}
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		gauge := func(want float64) {
			t.Helper()
			if got := series(t, reg)["keysetd_unkillable_workers{token=t}"]; got != want {
				t.Errorf("%v workers are counted, want %v", got, want)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait() // which orders the reads below after Launch's writes
		if len(started) != 2 {
			t.Fatalf("%d workers were started, want 2", len(started))
		}
		gauge(2)
		problem := token.Status().Problem
		for _, want := range []string{"2 workers", "1000", "1001", "no further one is started"} {
			if !strings.Contains(problem, want) {
				t.Errorf("the problem is %q, want %q in it", problem, want)
			}
		}
		if err := token.Ready(within(t, time.Second)); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		well.Store(true)
		close(started[0].exited)
		synctest.Wait() // no time passes
		if !token.Status().Up {
			t.Error("nobody woke the supervisor")
		}
		if err := token.Ready(within(t, time.Second)); err != nil {
			t.Errorf("one has ended: %v", err)
		}
		gauge(1)
		close(started[1].exited)
		synctest.Wait()
		gauge(0)
		if got := series(t, reg)["keysetd_epochs_total{cause=call_hung,token=t}"]; got != 2 {
			t.Errorf("%v epochs ended by a hang, want 2", got)
		}
	})
}

func TestAcceptSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		remembered := "before"
		full := errors.New("disk full")
		var fail error
		cfg := m.Config()
		cfg.Serial = func() string { return remembered }
		cfg.RememberSerial = func(s string) error {
			if fail == nil {
				remembered = s
			}
			return fail
		}
		m.SetSerial("found")
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		time.Sleep(time.Minute + time.Second) // in a pause
		if s := token.Status(); s.Up || s.FoundSerial != "found" || !strings.Contains(s.Problem, "found") || m.Logins() != 0 {
			t.Errorf("status %+v after %d logins", s, m.Logins())
		}
		for _, serial := range []string{"", "before", "other"} {
			if err := token.AcceptSerial(t.Context(), serial); err == nil || remembered != "before" {
				t.Errorf("accepting %q: %v; remembered is %q", serial, err, remembered)
			}
		}
		fail = full
		if err := token.AcceptSerial(t.Context(), "found"); !errors.Is(err, full) {
			t.Errorf("error %v, want %v", err, full)
		}
		fail = nil
		if err := token.AcceptSerial(t.Context(), "found"); err != nil || remembered != "found" {
			t.Fatalf("accepting: %v; remembered is %q", err, remembered)
		}
		synctest.Wait() // no time passes
		if s := token.Status(); !s.Up || s.FoundSerial != "" || s.Info.Serial != "found" {
			t.Errorf("status %+v", s)
		}
		if err := token.AcceptSerial(t.Context(), "found"); err == nil {
			t.Error("nothing was refused, and it was accepted")
		}
	})
}

// A call past its operation's limit ends the epoch, whatever the caller's deadline is.
func TestLimitsAreConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		cfg := m.Config()
		cfg.Limits = hsm.Limits{Sign: 2 * time.Second, Generate: 3 * time.Second, Finalise: 4 * time.Second}
		token, err := hsm.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		key := generate(t, token, keyspec.P256)
		for op, least := range map[wire.Op]time.Duration{wire.OpSign: 2 * time.Second, wire.OpGenerate: 3 * time.Second} {
			m.Inject(memory.Fault{Op: op, Hang: make(chan struct{})})
			began := time.Now()
			if op == wire.OpSign {
				err = sign(t, t.Context(), key)
			} else if _, err = token.Generate(t.Context(), request("test/2", keyspec.P256)); errors.Is(err, hsm.ErrUnavailable) {
				err = token.Ready(t.Context())
			}
			// The worker cannot finalise while it hangs, and is given the time to.
			if took := time.Since(began); err != nil || took < least+4*time.Second || took > least+5*time.Second {
				t.Errorf("%s: %v after %v", op, err, took)
			}
		}
	})
}

// The code that ended an epoch is one call's; it says nothing about the others.
func TestAnothersCodeIsAnOutage(t *testing.T) {
	bubble(t, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, _ *wire.Object) {
		m.Inject(memory.Fault{Op: wire.OpGenerate, Hang: make(chan struct{})})
		generated := make(chan error)
		go func() {
			_, err := token.Generate(t.Context(), request("test/2", keyspec.P256))
			generated <- err
		}()
		synctest.Wait()
		m.Inject(memory.Fault{Op: wire.OpSign, Code: 0x31}) // CKR_DEVICE_MEMORY; of a generation: the token is full
		if err := sign(t, t.Context(), key); err != nil {
			t.Error(err)
		}
		if err := <-generated; !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
	})
}
