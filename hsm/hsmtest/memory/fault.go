package memory

import (
	"slices"
	"time"

	"keysetd.example/hsm/wire"
)

// Fault is what goes wrong with the next calls of one operation.
type Fault struct {
	Op    wire.Op
	Times int // how many calls; 0 means one
	// After does the work first: what fails then has had its effect.
	After bool
	// Delay is how long the call holds its session before what else happens.
	Delay time.Duration
	// Hang holds the call until the channel is closed or the worker is killed.
	Hang <-chan struct{}
	// Drop kills the worker.
	Drop bool
	// Code is the CKR that is returned, by the function that fits the operation.
	Code uint64
	// Corrupt changes a bit of a signature or a plaintext.
	Corrupt bool
}

// Inject adds a fault behind those that are there.
func (t *Token) Inject(f Fault) {
	f.Times = max(f.Times, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, &f)
}

// Clear takes all faults away that have not happened yet.
func (t *Token) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = nil
}

func (t *Token) take(op wire.Op) *Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.faults, func(f *Fault) bool { return f.Op == op })
	if i < 0 {
		return nil
	}
	f := t.faults[i]
	if f.Times--; f.Times == 0 {
		t.faults = slices.Delete(t.faults, i, i+1)
	}
	return f
}

// function is what a module would blame.
func function(op wire.Op) string {
	switch op {
	case wire.OpOpen:
		return "C_GetTokenInfo"
	case wire.OpLogin:
		return "C_Login"
	case wire.OpList:
		return "C_FindObjects"
	case wire.OpGenerate:
		return "C_GenerateKeyPair"
	case wire.OpSign:
		return "C_Sign"
	case wire.OpDecrypt:
		return "C_Decrypt"
	case wire.OpDestroy:
		return "C_DestroyObject"
	case wire.OpInitToken:
		return "C_InitToken"
	}
	return "C_Finalize"
}

// do runs work with the fault that is due, if any.
func do[R any](w *worker, op wire.Op, work func() (R, error)) (r R, err error) {
	f := w.token.take(op)
	if f == nil {
		return work()
	}
	if f.After || f.Corrupt {
		if r, err = work(); err != nil {
			return r, err
		}
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-w.dead:
			return r, gone
		}
	}
	if f.Hang != nil {
		select {
		case <-f.Hang:
		case <-w.dead:
			return r, gone
		}
	}
	switch {
	case f.Drop:
		w.Kill()
		return r, gone
	case f.Code != 0:
		return r, &wire.Error{Code: f.Code, Function: function(op), Message: "an injected fault"}
	case f.Corrupt:
		if d, ok := any(r).(wire.Decrypted); ok && d.OK {
			d.Plaintext[len(d.Plaintext)/2] ^= 1
		} else if sig, ok := any(r).([]byte); ok {
			sig[len(sig)/2] ^= 1
		}
	case !f.After:
		return work()
	}
	return r, nil
}

// gone is never seen: the connection is down before.
var gone = &wire.Error{Reason: wire.Protocol, Message: "the worker was killed"}
