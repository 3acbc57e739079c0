package wire

import "fmt"

// Error is a failure that the worker reports. Where a PKCS#11 function returned it,
// Code and Function say so; the code is kept as it came, vendor codes included.
type Error struct {
	// Code is the CK_RV. Without a Function it is the one that a careful token would have
	// given to a request that was refused before it was asked. 0 where neither is so.
	Code uint64 `json:"code,omitempty"`
	// Function is the PKCS#11 function, such as C_Sign.
	Function string `json:"function,omitempty"`
	// Reason classes failures that have no code of their own.
	Reason Reason `json:"reason,omitempty"`
	// Message says what was being done and to what. It holds no secret.
	Message string `json:"message"`
}

// Reason is a failure that the worker itself finds.
type Reason string

// The reasons.
const (
	ModuleMissing Reason = "module_missing"  // the file cannot be loaded as a PKCS#11 module
	TokenMissing  Reason = "token_missing"   // no token matches
	TokenNotOne   Reason = "token_ambiguous" // more than one token matches
	KeyMissing    Reason = "key_missing"     // no key matches, on a session proven logged in
	KeyNotOne     Reason = "key_ambiguous"   // more than one key matches
	Unsupported   Reason = "unsupported"     // no such key spec or mechanism here
	Protocol      Reason = "protocol"        // the request makes no sense at this point
)

func (e *Error) Error() string {
	switch {
	case e.Function != "" && e.Message != "":
		return fmt.Sprintf("%s: %s: CKR 0x%X", e.Message, e.Function, e.Code)
	case e.Function != "":
		return fmt.Sprintf("%s: CKR 0x%X", e.Function, e.Code)
	}
	return e.Message
}
