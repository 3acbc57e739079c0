package hsm

import (
	"cmp"
	"fmt"
	"time"

	"keysetd.example/hsm/wire"
)

// Limits are the longest that operations may take at the worker. One that takes longer is
// taken to hang, which ends the epoch: a call inside a PKCS#11 library cannot be
// cancelled. A caller's own deadline ends only the caller's wait. Each that is left out (0) is
// its default.
type Limits struct {
	// Open: to start the worker, load the module and find the token. Left out, a minute, since
	// some libraries first try one after the other all HSMs they know.
	Open time.Duration
	// Login: to open the sessions and to log in, with reading the PIN. Left out, a minute.
	Login time.Duration
	// List: to read all keys with their attributes. Left out, a minute.
	List time.Duration
	// Generate: to make one key pair. Left out, ten minutes: an RSA-4096 key in a small token.
	Generate time.Duration
	// Sign: to make one signature, the wait for a session at the worker included. Left out, ten seconds.
	Sign time.Duration
	// Decrypt: to decrypt or derive once, likewise. Left out, ten seconds.
	Decrypt time.Duration
	// Destroy: to remove one key. Left out, a minute.
	Destroy time.Duration
	// Finalise: what a worker is given to finalise the module and exit before it is killed. It
	// adds to each return after an epoch that did not end with its worker. Left out, a second.
	Finalise time.Duration
}

// DefaultGenerate is the default of Limits.Generate.
const DefaultGenerate = 10 * time.Minute

// complete returns l with its defaults, or what is wrong with it.
func (l Limits) complete() (Limits, error) {
	for _, f := range []struct {
		name   string
		value  *time.Duration
		normal time.Duration
	}{
		{"open", &l.Open, time.Minute},
		{"login", &l.Login, time.Minute},
		{"list", &l.List, time.Minute},
		{"generate", &l.Generate, DefaultGenerate},
		{"sign", &l.Sign, 10 * time.Second},
		{"decrypt", &l.Decrypt, 10 * time.Second},
		{"destroy", &l.Destroy, time.Minute},
		{"finalise", &l.Finalise, time.Second},
	} {
		if *f.value < 0 {
			return l, fmt.Errorf("the limit for %s is %v: give more than 0, or none for %v", f.name, *f.value, f.normal)
		}
		*f.value = cmp.Or(*f.value, f.normal)
	}
	return l, nil
}

// of is the limit of one operation; the zero Limits have none.
func (l Limits) of(op wire.Op) time.Duration {
	switch op {
	case wire.OpOpen:
		return l.Open
	case wire.OpLogin:
		return l.Login
	case wire.OpGenerate:
		return l.Generate
	case wire.OpSign:
		return l.Sign
	case wire.OpDecrypt:
		return l.Decrypt
	case wire.OpDestroy:
		return l.Destroy
	case wire.OpClose:
		return l.Finalise
	}
	return l.List
}

// hung is the cause of an epoch's end after a call that took too long.
type hung struct {
	op    wire.Op
	limit time.Duration
}

func (h *hung) Error() string {
	return fmt.Sprintf("%s took longer than its limit of %v", h.op, h.limit)
}
