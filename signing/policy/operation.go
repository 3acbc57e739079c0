package policy

import (
	"errors"
	"strings"
)

// Operation is an act that a caller can be granted, by the word that the configuration,
// the audit log and metrics use.
type Operation string

// The operations.
const (
	// JWT signs tokens whose claims the daemon sees and checks.
	JWT Operation = "jwt"
	// Sign signs payloads and digests that say nothing to the daemon.
	Sign Operation = "sign"
	// ClientAssertion signs assertions that the daemon composes, by which a client tells an
	// authorisation server who it is (RFC 7523 §2.2).
	ClientAssertion Operation = "client-assertion"
	// Decrypt opens what was encrypted to a keyset (RFC 7516).
	Decrypt Operation = "decrypt"
	// Read shows a keyset's state, what it was and what it will be.
	Read Operation = "read"
	// Rotate has the next generation sign ahead of time.
	Rotate Operation = "rotate"
	// Revoke takes a key out of service for ever.
	Revoke Operation = "revoke"
	// Freeze suspends a keyset's schedule, and ends that again.
	Freeze Operation = "freeze"
	// Certificate shows what certificates keys ask for, and hands those in that were issued outside.
	Certificate Operation = "certificate"
	// Admin is for what concerns the daemon and its tokens and not one keyset.
	Admin Operation = "admin"
)

// All stands for every keyset, every operation or every algorithm in a Rule, those of
// later versions included.
const All = "*"

// Operations returns every operation.
func Operations() []Operation {
	return []Operation{JWT, Sign, ClientAssertion, Decrypt, Read, Rotate, Revoke, Freeze, Certificate, Admin}
}

// Signs reports whether the operation makes a signature, so that an algorithm belongs to
// it. All does.
func (o Operation) Signs() bool { return o == JWT || o == Sign || o == ClientAssertion || o == All }

// UsesKey reports whether the operation has the token use a key, which is what rates and
// priorities are about: those that sign, and Decrypt.
func (o Operation) UsesKey() bool { return o.Signs() || o == Decrypt }

// ParseOperation returns the operation that s names. The error does not repeat s.
func ParseOperation(s string) (Operation, error) {
	var words []string
	for _, o := range Operations() {
		if string(o) == s {
			return o, nil
		}
		words = append(words, string(o))
	}
	there := "; the operations are " + strings.Join(words, ", ")
	if s == "batch" {
		return "", errors.New("is not an operation of its own: each of its items is judged as what it is" + there)
	}
	return "", errors.New("is not an operation" + there)
}
