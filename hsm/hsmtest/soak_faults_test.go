package hsmtest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
)

// Where failures are put. Functions of a beginning are only called when an epoch begins; the
// callers and the churn call the others all the time.
var (
	always    = []string{"C_SignInit", "C_Sign", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue", "C_GenerateKeyPair", "C_DestroyObject"}
	beginning = []string{"C_Initialize", "C_GetSlotList", "C_GetTokenInfo", "C_OpenSession"}
)

// codes that are to end an epoch, of each class that design.md names, and two that are not.
var codes = []uint64{
	0x02, 0x05, 0x06, 0x30, 0x32, 0x60, 0x82, 0x90, 0x91, 0xB0, 0xB1, 0xB3, 0xE0, 0xE1, 0x100, 0x101, 0x190,
	0x80000001, 0xCE534351, 0xFFFFFFFFFFFFFFFF, ckrFunctionCanceled, ckrFunctionRejected,
}

const ckrFunctionRejected = 0x200

// injection is one failure. When it is over, inject has returned and the fault is cleared.
type injection struct {
	kind   string
	inject func(*world)
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// next draws a failure. All that is random about it is drawn here.
func next(r *rand.Rand) injection {
	function, starts := pick(r, always), false
	if r.IntN(3) == 0 {
		function, starts = pick(r, beginning), true
	}
	kill := starts || r.IntN(3) == 0
	code, times, d := pick(r, codes), 1+r.IntN(8), upTo(r, 400*time.Millisecond)
	met := func(kind string, put func(f *hsmtest.Faulty)) injection {
		return injection{kind + " " + function, func(w *world) {
			taken := w.fault.Taken()
			put(w.fault)
			if kill {
				w.kill()
			}
			w.meet(taken + 1)
			time.Sleep(d)
		}}
	}
	switch r.IntN(10) {
	case 0:
		return injection{"SIGKILL", (*world).kill}
	case 1:
		return met("Fail until Clear:", func(f *hsmtest.Faulty) { f.Fail(function, code, 0) })
	case 2, 3:
		return met("Fail", func(f *hsmtest.Faulty) { f.Fail(function, code, times) })
	case 4:
		return met("After", func(f *hsmtest.Faulty) { f.After(function, code, times) })
	case 5:
		return met("Delay", func(f *hsmtest.Faulty) { f.Delay(function, d/4) })
	case 6:
		return met("Crash", func(f *hsmtest.Faulty) { f.Crash(function) })
	case 7:
		return injection{"Hang " + function, func(w *world) {
			taken := w.fault.Taken()
			w.fault.Hang(function)
			if kill {
				w.kill()
			}
			w.meet(taken + 1)
			// A login may be cut off once, not twice: whether the PIN was tried is not known then.
			w.until("the hang is found", func() bool { return strings.Contains(w.token.Status().Problem, "took longer than its limit") })
		}}
	case 8:
		// In the long form alone: the key that comes late is made by a further process, which on a
		// busy machine may itself be what fails. TestFaultLater has it alone.
		if soak {
			return injection{"Later", func(w *world) { w.later(upTo(r, 300*time.Millisecond)) }}
		}
	}
	// Once: invariant 9 allows for no second login that was cut off.
	return injection{"C_Login", func(w *world) {
		taken := w.fault.Taken()
		switch times % 3 {
		case 0:
			w.fault.Fail("C_Login", code, 1)
		case 1:
			w.fault.After("C_Login", code, 1)
		case 2:
			w.fault.Crash("C_Login")
		}
		w.kill()
		w.meet(taken + 1)
	}}
}

// kill ends the worker, once there is one, and waits until that was noticed.
func (w *world) kill() {
	var up hsm.Status
	w.until("there is a worker to be killed", func() bool {
		up = w.token.Status()
		return up.Up && syscall.Kill(up.WorkerPID, syscall.SIGKILL) == nil
	})
	w.until("the token noticed that its worker was killed", func() bool { return w.token.Status().Since != up.Since })
}

// meet waits until so many calls met a fault.
func (w *world) meet(n int) {
	w.until("a call meets the fault", func() bool { return w.fault.Taken() >= n })
}

// later has the token finish a key when its worker is gone. The attempt is on record.
func (w *world) later(d time.Duration) {
	w.churn.mu.Lock()
	defer w.churn.mu.Unlock()
	r := w.churn.request()
	w.churn.late = append(w.churn.late, string(r.ID))
	taken := w.fault.Taken()
	w.fault.Later(w.t, d)
	for w.fault.Taken() == taken && w.t.Context().Err() == nil { // not every attempt gets as far as the token
		if _, err := w.token.Generate(within(w.t, 5*time.Second), r); err == nil {
			w.t.Error("Later made the key at once")
			return
		}
	}
}

func (w *world) until(what string, ok func() bool) {
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Errorf("not within 30 s: %s; %+v", what, w.token.Status())
			return
		}
	}
}

// back waits until every caller has signed since the fault was over.
func (w *world) back(kind string) {
	over := time.Now()
	var had [len(w.callers)]int64
	for i := range w.callers {
		had[i] = w.callers[i].Load()
	}
	w.until("every caller signs again after "+kind, func() bool {
		for i := range w.callers {
			if w.callers[i].Load() < had[i]+2 { // one may have been on its way
				return false
			}
		}
		return true
	})
	took := time.Since(over)
	if took > backWithin() {
		w.t.Errorf("after %s signing again took %v, longer than %v; %+v", kind, took, backWithin(), w.token.Status())
	}
	if took > w.tally.slowest {
		w.tally.slowest, w.tally.slowestKind = took, fmt.Sprintf("%s, with %d keys", kind, len(w.keys))
	}
}
