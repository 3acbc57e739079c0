package policy

import "errors"

// Operation is an act that a caller can be granted, by the word that the configuration,
// the audit log and metrics use.
type Operation string

// The operations.
const (
	// JWT signs tokens whose claims the daemon sees and checks.
	JWT Operation = "jwt"
	// Sign signs payloads and digests that say nothing to the daemon.
	Sign Operation = "sign"
	// Read shows a keyset's state.
	Read Operation = "read"
	// Admin is for what concerns the daemon and its tokens and no keyset.
	Admin Operation = "admin"
)

// All stands for every keyset, every operation or every algorithm in a Rule, those of
// later versions included.
const All = "*"

// Operations returns every operation.
func Operations() []Operation { return []Operation{JWT, Sign, Read, Admin} }

// Signs reports whether the operation makes a signature, so that an algorithm belongs to
// it. All does.
func (o Operation) Signs() bool { return o == JWT || o == Sign || o == All }

// later are the operations of the doors that this version does not perform. A right that
// nothing looks at must not be granted.
var later = []Operation{"client-assertion", "decrypt", "batch", "rotate", "revoke", "freeze", "certificate"}

// ParseOperation returns the operation that s names. The error does not repeat s.
func ParseOperation(s string) (Operation, error) {
	for _, o := range Operations() {
		if string(o) == s {
			return o, nil
		}
	}
	for _, o := range later {
		if string(o) == s {
			return "", errors.New("operation " + s + " is not available in this version; the operations are jwt, sign, read, admin")
		}
	}
	return "", errors.New("is not an operation; the operations are jwt, sign, read, admin")
}
