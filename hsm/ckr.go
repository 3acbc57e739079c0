package hsm

import (
	"errors"
	"fmt"
	"strings"

	"keysetd.example/hsm/wire"
)

// verdict says what a failed request means for the epoch it happened in.
type verdict uint8

const (
	// endsEpoch: the worker, its sessions or its handles are no longer to be relied on.
	// It is the zero value: whatever is not known to be harmless ends the epoch.
	endsEpoch verdict = iota
	// thisRequest: the token is well, it will not do this.
	thisRequest
	// unsupported: as thisRequest, and it never will.
	unsupported
	// refusedPIN: C_Login and its kin; see pinOutcome.
	refusedPIN
)

// The codes that the code itself has to tell apart (PKCS#11 v2.40 §3, CK_RV).
const (
	ckrDeviceMemory = 0x31
	// ckrVendor is CKR_VENDOR_DEFINED: what lies above is the vendor's own.
	ckrVendor = 0x80000000
)

type ckr struct {
	name    string
	verdict verdict
}

// ckrs holds the codes of PKCS#11 v2.40 §3 and v3.0 §3 that modules return in what we ask
// for. A code that is not here ends the epoch, and so do vendors' own and the
// 0xFFFFFFFFFFFFFFFF of a remote module that lost its peer.
var ckrs = map[uint64]ckr{
	// The library, the device or the session is in doubt.
	0x02:  {"CKR_HOST_MEMORY", endsEpoch},
	0x03:  {"CKR_SLOT_ID_INVALID", endsEpoch},
	0x05:  {"CKR_GENERAL_ERROR", endsEpoch},
	0x06:  {"CKR_FUNCTION_FAILED", endsEpoch},
	0x30:  {"CKR_DEVICE_ERROR", endsEpoch},
	0x31:  {"CKR_DEVICE_MEMORY", endsEpoch},
	0x32:  {"CKR_DEVICE_REMOVED", endsEpoch},
	0x60:  {"CKR_KEY_HANDLE_INVALID", endsEpoch},
	0x82:  {"CKR_OBJECT_HANDLE_INVALID", endsEpoch},
	0x90:  {"CKR_OPERATION_ACTIVE", endsEpoch},
	0x91:  {"CKR_OPERATION_NOT_INITIALIZED", endsEpoch},
	0xB0:  {"CKR_SESSION_CLOSED", endsEpoch},
	0xB1:  {"CKR_SESSION_COUNT", endsEpoch},
	0xB3:  {"CKR_SESSION_HANDLE_INVALID", endsEpoch},
	0xE0:  {"CKR_TOKEN_NOT_PRESENT", endsEpoch},
	0xE1:  {"CKR_TOKEN_NOT_RECOGNIZED", endsEpoch},
	0x100: {"CKR_USER_ALREADY_LOGGED_IN", endsEpoch},
	0x101: {"CKR_USER_NOT_LOGGED_IN", endsEpoch},
	0x102: {"CKR_USER_PIN_NOT_INITIALIZED", endsEpoch},
	0x104: {"CKR_USER_ANOTHER_ALREADY_LOGGED_IN", endsEpoch},
	0x105: {"CKR_USER_TOO_MANY_TYPES", endsEpoch},
	0x121: {"CKR_RANDOM_NO_RNG", endsEpoch},
	0x190: {"CKR_CRYPTOKI_NOT_INITIALIZED", endsEpoch},
	0x1B6: {"CKR_FIPS_SELF_TEST_FAILED", endsEpoch},

	// The request is at fault, or the key.
	0x07:  {"CKR_ARGUMENTS_BAD", thisRequest},
	0x10:  {"CKR_ATTRIBUTE_READ_ONLY", thisRequest},
	0x11:  {"CKR_ATTRIBUTE_SENSITIVE", thisRequest},
	0x12:  {"CKR_ATTRIBUTE_TYPE_INVALID", thisRequest},
	0x13:  {"CKR_ATTRIBUTE_VALUE_INVALID", thisRequest},
	0x1B:  {"CKR_ACTION_PROHIBITED", thisRequest},
	0x20:  {"CKR_DATA_INVALID", thisRequest},
	0x21:  {"CKR_DATA_LEN_RANGE", thisRequest},
	0x40:  {"CKR_ENCRYPTED_DATA_INVALID", thisRequest},
	0x41:  {"CKR_ENCRYPTED_DATA_LEN_RANGE", thisRequest},
	0x50:  {"CKR_FUNCTION_CANCELED", thisRequest},
	0xB5:  {"CKR_SESSION_READ_ONLY", thisRequest},
	0xD0:  {"CKR_TEMPLATE_INCOMPLETE", thisRequest},
	0xD1:  {"CKR_TEMPLATE_INCONSISTENT", thisRequest},
	0xE2:  {"CKR_TOKEN_WRITE_PROTECTED", thisRequest},
	0x150: {"CKR_BUFFER_TOO_SMALL", thisRequest},
	0x1B9: {"CKR_PUBLIC_KEY_INVALID", thisRequest},
	0x200: {"CKR_FUNCTION_REJECTED", thisRequest},

	0x54:  {"CKR_FUNCTION_NOT_SUPPORTED", unsupported},
	0x62:  {"CKR_KEY_SIZE_RANGE", unsupported},
	0x63:  {"CKR_KEY_TYPE_INCONSISTENT", unsupported},
	0x68:  {"CKR_KEY_FUNCTION_NOT_PERMITTED", unsupported},
	0x70:  {"CKR_MECHANISM_INVALID", unsupported},
	0x71:  {"CKR_MECHANISM_PARAM_INVALID", unsupported},
	0x130: {"CKR_DOMAIN_PARAMS_INVALID", unsupported},
	0x140: {"CKR_CURVE_NOT_SUPPORTED", unsupported},

	0xA0:  {"CKR_PIN_INCORRECT", refusedPIN},
	0xA1:  {"CKR_PIN_INVALID", refusedPIN},
	0xA2:  {"CKR_PIN_LEN_RANGE", refusedPIN},
	0xA3:  {"CKR_PIN_EXPIRED", refusedPIN},
	0xA4:  {"CKR_PIN_LOCKED", refusedPIN},
	0x1B0: {"CKR_NEW_PIN_MODE", refusedPIN},
	0x1B1: {"CKR_NEXT_OTP", refusedPIN},
	0x1B8: {"CKR_PIN_TOO_WEAK", refusedPIN},
}

// judge tells what a failure of op means. Errors that are not the worker's answer (it
// died, it sent garbage, it took longer than the operation's limit) end the epoch.
func judge(op wire.Op, err error) verdict {
	if _, ended := errors.AsType[*epochEnded](err); ended {
		return endsEpoch // what else is in it is about another call
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return endsEpoch
	}
	if e.Code != 0 {
		if op == wire.OpGenerate && e.Code == ckrDeviceMemory {
			return thisRequest // the token is full, which a new session would not change
		}
		return ckrs[e.Code].verdict
	}
	switch e.Reason {
	case wire.Unsupported:
		return unsupported
	case wire.KeyMissing, wire.KeyNotOne:
		return thisRequest
	}
	return endsEpoch
}

// sentinel wraps err, a failure of op, in the error of this package that a caller acts on.
func sentinel(op wire.Op, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	v := judge(op, err)
	if e, ok := errors.AsType[*wire.Error](err); ok && v == thisRequest && e.Reason == wire.KeyMissing {
		return fmt.Errorf("%w: %w", ErrKeyNotFound, err)
	}
	switch v {
	case unsupported:
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case endsEpoch:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// describe is err for a person: with the name of its code, where it has one.
func describe(err error) string {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok || e.Code == 0 {
		return err.Error()
	}
	switch c, known := ckrs[e.Code]; {
	case known && !strings.Contains(err.Error(), c.name):
		return fmt.Sprintf("%v (%s)", err, c.name)
	case e.Code >= ckrVendor:
		return fmt.Sprintf("%v (a code of the vendor's own)", err)
	}
	return err.Error()
}
