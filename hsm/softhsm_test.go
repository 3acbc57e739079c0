package hsm_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/internal/keyspec"
)

func TestMain(m *testing.M) { hsmtest.Main(m) }

func TestAllSpecsOnSoftHSM(t *testing.T) {
	testAllSpecs(t, hsmtest.SoftHSM(t).Config())
}

// The same keys sign after the worker was killed, soon, and callers see a delay only.
func TestWorkerKilledUnderLoad(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	testLeavesNothing(t, func() {
		token := ready(t, soft.Config())
		keys := []*hsm.Key{generate(t, token, keyspec.P256), generate(t, token, keyspec.RSA2048)}
		var signed atomic.Int64
		stop := make(chan struct{})
		var callers sync.WaitGroup
		for i := range 4 {
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := sign(t, within(t, 20*time.Second), keys[i%2]); err != nil {
						t.Errorf("a caller: %v", err)
						return
					}
					signed.Add(1)
				}
			})
		}
		for range 3 {
			before := token.Status().WorkerPID
			if before == 0 {
				t.Fatal("the worker has no pid")
			}
			if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			for token.Status().WorkerPID == before || !token.Status().Up {
				if time.Since(killed) > 2*time.Second {
					t.Fatalf("%v after the worker was killed: %+v", time.Since(killed), token.Status())
				}
				time.Sleep(time.Millisecond)
			}
			// Everyone is in a first attempt again before the next kill.
			for since := signed.Load(); signed.Load() < since+20; {
				if time.Since(killed) > 10*time.Second {
					t.Fatal("nobody signs any more")
				}
				time.Sleep(time.Millisecond)
			}
		}
		close(stop)
		callers.Wait()
		pid := token.Status().WorkerPID
		closeToken(t, token)
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("the worker is still there after Close: %v", err)
		}
	})
}

// A worker that does not even see that its daemon has gone is killed.
func TestStoppedWorkerIsKilled(t *testing.T) {
	token := ready(t, hsmtest.SoftHSM(t).Config())
	pid := token.Status().WorkerPID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	closeToken(t, token)
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the worker is still there after Close: %v", err)
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestWrongPINOnSoftHSM(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	right, err := os.ReadFile(soft.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(soft.PINFile, []byte("wrong-pin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		token := start(t, soft.Config())
		err := token.Attempt(within(t, 20*time.Second))
		if !errors.Is(err, hsm.ErrPINBlocked) || strings.Contains(err.Error(), "wrong-pin") {
			t.Errorf("error %v, want ErrPINBlocked without the PIN", err)
		}
		closeToken(t, token)
	}
	if err := os.WriteFile(soft.PINFile, right, 0o600); err != nil {
		t.Fatal(err)
	}
	token := start(t, soft.Config())
	if err := token.Attempt(within(t, 20*time.Second)); !errors.Is(err, hsm.ErrPINBlocked) {
		t.Errorf("nobody allowed it: %v", err)
	}
	if err := token.RetryPIN(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := token.Ready(within(t, 20*time.Second)); err != nil {
		t.Error(err)
	}
}

func TestInitTokenRefusesALabelInUse(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	if _, err := hsm.InitToken(within(t, 20*time.Second), soft.Config(), soft.Label, []byte("12345678"), []byte("12345678")); err == nil {
		t.Fatal("a token in use was initialised")
	}
	ready(t, soft.Config())
}

// What a worker could tell others: no PIN in its arguments and environment, no descriptor of
// the daemon's but the socket.
func TestWorkerInheritsLittle(t *testing.T) {
	t.Setenv("KEYSETD_TEST_SECRET", "not for the worker")
	secret, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	soft := hsmtest.SoftHSM(t)
	pin, err := os.ReadFile(soft.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	token := ready(t, soft.Config())
	proc := filepath.Join("/proc", strconv.Itoa(token.Status().WorkerPID))
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(filepath.Join(proc, name))
		if err != nil {
			t.Logf("%s: %v (the worker is not dumpable)", name, err)
			continue
		}
		for _, s := range []string{strings.TrimSpace(string(pin)), "KEYSETD_TEST_SECRET"} {
			if strings.Contains(string(b), s) {
				t.Errorf("%s holds %q", name, s)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Logf("fd: %v (the worker is not dumpable)", err)
	}
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(proc, "fd", e.Name()))
		if slices.Contains([]string{secret.Name(), soft.Marker + ".lock"}, target) {
			t.Errorf("descriptor %s is %s", e.Name(), target)
		}
	}
}

func TestModuleThatIsMissing(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	for _, c := range []struct {
		change func(*hsm.Config)
		want   string
	}{
		{func(c *hsm.Config) { c.Open.Module = "/nowhere/lib.so" }, "/nowhere/lib.so"},
		{func(c *hsm.Config) { c.Open.Label = "nobody" }, "nobody"},
		{func(c *hsm.Config) { c.Command = []string{"/nowhere/keysetd", "token"} }, "/nowhere/keysetd"},
		{func(c *hsm.Config) { c.Command = []string{"/bin/true"} }, "worker"},
		{func(c *hsm.Config) { c.PIN = hsm.FilePIN("/nowhere/pin") }, "/nowhere/pin"},
	} {
		cfg := soft.Config()
		c.change(&cfg)
		token := start(t, cfg)
		if err := token.Attempt(within(t, 20*time.Second)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q in it", err, c.want)
		}
		closeToken(t, token)
	}
}
