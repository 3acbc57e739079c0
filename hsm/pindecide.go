package hsm

import (
	"errors"
	"fmt"
	"time"

	"keysetd.example/hsm/wire"
)

// pinState is what the marker says.
type pinState string

const (
	pinNone    pinState = ""        // no marker: nothing is known against logging in
	pinTrying  pinState = "trying"  // on disk before C_Login; found later, the outcome is unknown
	pinAgain   pinState = "again"   // the same, after an attempt that was cut off as well
	pinRefused pinState = "refused" // the token said no
	pinAllowed pinState = "allowed" // the operator allows one more attempt
)

// pinFacts are what a decision to log in rests on.
type pinFacts struct {
	state  pinState
	since  time.Time // of state
	serial string    // of the token that is there
	source string    // identity of where the PIN comes from; "" where it is not known

	// Of the latest login that succeeded; both "" if there was none.
	provenSerial, provenSource string

	low, final, locked bool // the token's PIN flags
}

// decide tells whether logging in is safe (invariant 9), and if not, why.
//
// A marker in state trying may be passed only with a PIN that was right before: the
// same token, and a source that has not changed since. Without this a worker that
// crashes while it logs in would need a person each time. It is passed once: should the
// PIN have been changed on the token alone, and every refusal be hidden by a crash or a device
// error, then no more than two attempts are spent on it.
func decide(f pinFacts) (ok bool, why string) {
	if f.state == pinAllowed {
		return true, ""
	}
	if f.state == pinRefused {
		return false, fmt.Sprintf("the token refused the PIN at %s", stamp(f.since))
	}
	switch {
	case f.locked:
		return false, "the token says that its PIN is locked"
	case f.final:
		return false, "the token says that one more wrong PIN locks it"
	case f.low:
		return false, "the token says that a wrong PIN was tried since the last login"
	}
	switch f.state {
	case pinNone:
		return true, ""
	case pinTrying:
		if f.source != "" && f.source == f.provenSource && f.serial == f.provenSerial {
			return true, ""
		}
		return false, fmt.Sprintf("a login was cut off at %s, whether the PIN was right is not known, and this PIN was not used with success before", stamp(f.since))
	}
	if f.state == pinAgain {
		return false, fmt.Sprintf("two logins in a row were cut off, the second at %s, and whether the PIN is still right is not known", stamp(f.since))
	}
	return false, fmt.Sprintf("the PIN marker says %q, which this version does not know", f.state)
}

// conceivable tells whether any token at all could make decide agree. If none can, no
// worker need be started to find out.
func conceivable(f pinFacts) (ok bool, why string) {
	f.serial, f.low, f.final, f.locked = f.provenSerial, false, false, false
	return decide(f)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// pinOutcome is what a login's result says about the PIN.
type pinOutcome uint8

const (
	pinUnknown  pinOutcome = iota // it may have been tried, and may have been wrong
	pinAccepted                   // right
	pinWrong                      // tried and refused
	pinUntried                    // the token never looked at it
)

// outcomeOf reads a login's result. Only codes that a token gives before it compares
// the PIN count as untried: a device error can also hide a refusal that was counted.
func outcomeOf(err error) pinOutcome {
	if err == nil {
		return pinAccepted
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return pinUnknown
	}
	if ckrs[e.Code].verdict == refusedPIN && e.Code != 0 {
		return pinWrong
	}
	switch e.Function {
	case "C_Login", "":
	default: // C_OpenSession before the login, or after one that succeeded
		return pinUntried
	}
	switch e.Code {
	case 0x07, 0x54, // ARGUMENTS_BAD, FUNCTION_NOT_SUPPORTED
		0xB0, 0xB3, 0xB7, // SESSION_CLOSED, _HANDLE_INVALID, _READ_ONLY_EXISTS
		0xE0,                       // TOKEN_NOT_PRESENT
		0x102, 0x103, 0x104, 0x105, // USER_PIN_NOT_INITIALIZED, _TYPE_INVALID, _ANOTHER_ALREADY_LOGGED_IN, _TOO_MANY_TYPES
		0x190: // CRYPTOKI_NOT_INITIALIZED
		return pinUntried
	}
	return pinUnknown
}
