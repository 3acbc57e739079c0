package hsmtest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keysetd.example/hsm"
)

// The CKRs that faults are mostly made of.
const (
	CKRGeneralError         = 0x05
	CKRDeviceError          = 0x30
	CKRSessionHandleInvalid = 0xB3
)

// Faulty is a SoftHSM token behind the fault module, which forwards to SoftHSM and does as it is
// told meanwhile, in every process that uses it. A fault is for calls of one PKCS#11 function by
// its full name ("C_Sign"); each call takes at most one, the oldest first. The functions that
// package worker calls can have faults; another name never happens.
type Faulty struct {
	soft    *Soft
	module  string
	control string
	page    *faultPage

	mu    sync.Mutex // held by who writes to page
	later sync.WaitGroup
}

// NewFaulty puts the fault module before soft. It is built with gcc.
func NewFaulty(t testing.TB, soft *Soft) *Faulty {
	t.Helper()
	so, err := buildFaultModule()
	if err != nil {
		t.Fatal(err)
	}
	f := &Faulty{soft: soft, module: filepath.Join(t.TempDir(), "fault.so")}
	if err := os.WriteFile(f.module, so, 0o700); err != nil {
		t.Fatal(err)
	}
	f.page, f.control = mapFaultPage(t)
	t.Cleanup(f.later.Wait)
	return f
}

//go:embed fault/fault.c
var faultSource string

// buildFaultModule is done once, for all tests of this process.
var buildFaultModule = sync.OnceValues(func() ([]byte, error) {
	headers, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		return nil, fmt.Errorf("find miekg/pkcs11's headers: %w", err)
	}
	dir, err := os.MkdirTemp("", "keysetd-fault")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "fault.so")
	cmd := exec.Command("gcc", "-std=gnu11", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
		"-I", strings.TrimSpace(string(headers)), "-o", out, "-x", "c", "-", "-ldl", "-pthread")
	cmd.Stdin = strings.NewReader(faultSource)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the fault module: %w: %s", err, msg)
	}
	return os.ReadFile(out)
})

// Config is soft's, through the fault module.
func (f *Faulty) Config() hsm.Config {
	cfg := f.soft.Config()
	cfg.Open.Module = f.module
	cfg.Environment["KEYSETD_FAULT_MODULE"] = f.soft.Module
	cfg.Environment["KEYSETD_FAULT_CONTROL"] = f.control
	return cfg
}

// Fail has the next calls return code and do nothing else; 0 times stands for all until Clear.
func (f *Faulty) Fail(function string, code uint64, times int) {
	f.add(function, faultFail, times, code, 0)
}

// After has the next calls do their work and return code all the same, as when an answer is
// lost; 0 times stands for all until Clear.
func (f *Faulty) After(function string, code uint64, times int) {
	f.add(function, faultAfter, times, code, 0)
}

// Delay has every call take this much longer, until Clear.
func (f *Faulty) Delay(function string, d time.Duration) {
	f.add(function, faultDelay, 0, 0, d)
}

// Hang has every call wait until Release or Clear, and then do its work. The process can still
// be ended.
func (f *Faulty) Hang(function string) { f.add(function, faultHang, 0, 0, 0) }

// Release lets calls that hang go on, and no further ones hang.
func (f *Faulty) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.page.remove(faultHang)
	f.page.release.Add(1)
}

// Crash has the next call abort the process that makes it.
func (f *Faulty) Crash(function string) { f.add(function, faultCrash, 1, 0, 0) }

// Clear takes all faults away, and lets calls that hang go on. What Later has begun still happens.
func (f *Faulty) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.page.remove(0)
	f.page.rules.Store(0)
	f.page.release.Add(1)
}

// Taken is how many calls met a fault since NewFaulty; one that hangs or crashes has.
func (f *Faulty) Taken() int { return int(f.page.taken.Load()) }

// Await waits until n calls met a fault since NewFaulty.
func (f *Faulty) Await(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); f.Taken() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls met a fault, want %d", f.Taken(), n)
		}
	}
}

func (f *Faulty) add(function string, kind faultKind, times int, code uint64, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := uint32(times)
	if times == 0 {
		n = always
	}
	if err := f.page.add(function, kind, n, code, uint32(d.Milliseconds())); err != nil {
		panic(fmt.Sprintf("hsmtest: a fault of %s: %v", function, err))
	}
}
