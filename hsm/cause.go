package hsm

import (
	"errors"

	"keysetd.example/hsm/wire"
)

// cause is why an epoch ended, as metrics count it.
type cause string

const (
	causeStart        cause = "start"         // no worker could be started
	causeWorkerDied   cause = "worker_died"   // the process ended without being told to
	causeCallHung     cause = "call_hung"     // a call took longer than its limit
	causeProtocol     cause = "protocol"      // what came from the worker makes no sense
	causeModule       cause = "module"        // the module cannot be loaded
	causeToken        cause = "token"         // the token is not there, or not to be told from others
	causeSerial       cause = "serial"        // it is there with another serial number
	causeDevice       cause = "device"        // the library or the device failed
	causeSession      cause = "session"       // a session was lost, or is in the middle of something
	causeLogin        cause = "login"         // not logged in any more, or not at all
	causeKeyHandle    cause = "key_handle"    // a key's handle is not valid any more
	causeVendor       cause = "vendor"        // a CKR code of the vendor's own, or an unknown one
	causeBadSignature cause = "bad_signature" // a signature did not verify
	causeClosed       cause = "closed"        // Close was called
	causeOther        cause = "other"         // such as a serial number that cannot be remembered
)

var causes = []cause{
	causeStart, causeWorkerDied, causeCallHung, causeProtocol, causeModule, causeToken, causeSerial, causeDevice,
	causeSession, causeLogin, causeKeyHandle, causeVendor, causeBadSignature, causeClosed, causeOther,
}

// causeOf reads it from the error that an epoch ended with.
func causeOf(err error) cause {
	_, late := errors.AsType[*hung](err)
	_, serial := errors.AsType[*wrongSerial](err)
	_, unstarted := errors.AsType[*startError](err)
	switch {
	case errors.Is(err, ErrClosed):
		return causeClosed
	case errors.Is(err, ErrBadSignature):
		return causeBadSignature
	case late:
		return causeCallHung
	case serial:
		return causeSerial
	case unstarted:
		return causeStart
	case errors.Is(err, ErrPINBlocked):
		return causeLogin
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return causeOfReply(e)
	}
	switch {
	case errors.Is(err, wire.ErrWorkerGone):
		return causeWorkerDied
	case errors.Is(err, wire.ErrFrame):
		return causeProtocol
	}
	return causeOther
}

func causeOfReply(e *wire.Error) cause {
	switch e.Reason {
	case wire.ModuleMissing:
		return causeModule
	case wire.TokenMissing, wire.TokenNotOne:
		return causeToken
	case wire.Protocol:
		return causeProtocol
	}
	if e.Code == 0 {
		return causeOther
	}
	known, ok := ckrs[e.Code]
	switch {
	case !ok:
		return causeVendor
	case known.verdict == refusedPIN:
		return causeLogin
	}
	switch e.Code {
	case 0x03, 0x32, 0xE0, 0xE1: // SLOT_ID_INVALID, DEVICE_REMOVED, TOKEN_NOT_PRESENT, TOKEN_NOT_RECOGNIZED
		return causeToken
	case 0x90, 0x91, 0xB0, 0xB1, 0xB3: // OPERATION_*, SESSION_*
		return causeSession
	case 0x100, 0x101, 0x102, 0x104, 0x105: // USER_*
		return causeLogin
	case 0x60, 0x82: // KEY_HANDLE_INVALID, OBJECT_HANDLE_INVALID
		return causeKeyHandle
	}
	return causeDevice
}

// startError is the failure to start a worker.
type startError struct{ err error }

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// epochEnded is what a call gets whose epoch ended under it for another reason than
// its own: any CKR code in it is not this call's.
type epochEnded struct{ cause error }

func (e *epochEnded) Error() string { return "the epoch ended under it: " + e.cause.Error() }
func (e *epochEnded) Unwrap() error { return e.cause }
