package worker

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// ckr is the failure of a PKCS#11 function. What was being done, and to what, is in the
// format; the code is kept as it came.
func ckr(function string, rv uint64, format string, args ...any) *wire.Error {
	return &wire.Error{Code: rv, Function: function, Message: fmt.Sprintf(format, args...)}
}

// failed is ckr for an error that miekg/pkcs11 returned.
func failed(function string, err error, format string, args ...any) *wire.Error {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return &wire.Error{Reason: wire.Protocol, Message: fmt.Sprintf(format, args...) + ": " + err.Error()}
	}
	return ckr(function, uint64(code), format, args...)
}

// reason is a failure that this package finds itself.
func reason(r wire.Reason, format string, args ...any) *wire.Error {
	return &wire.Error{Reason: r, Message: fmt.Sprintf(format, args...)}
}

// refused is a request that the token is not asked for, though it might do it: rv is
// what it should have said.
func refused(rv uint64, format string, args ...any) *wire.Error {
	return &wire.Error{Code: rv, Reason: wire.Protocol, Message: fmt.Sprintf(format, args...)}
}

// codeOf is the CK_RV in err, and 0 where there is none.
func codeOf(err error) uint64 {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code
	}
	if code, ok := errors.AsType[pkcs11.Error](err); ok {
		return uint64(code)
	}
	return 0
}

// name shows a reference in messages.
func name(r wire.Ref) string {
	switch {
	case len(r.ID) == 0:
		return fmt.Sprintf("key %q", r.Label)
	case r.Label == "":
		return "key with CKA_ID " + hex.EncodeToString(r.ID)
	}
	return fmt.Sprintf("key %q with CKA_ID %s", r.Label, hex.EncodeToString(r.ID))
}
