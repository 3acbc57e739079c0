package hsm

import (
	"fmt"
	"strings"
)

// CheckAttributes tells whether a private key obeys invariant 7: on the token, private, sensitive,
// not extractable, not modifiable where the token knows it, made there, and of use for the
// one thing only. The error wraps ErrTemplate and names every attribute
// that is not.
//
// A token that does not know an attribute is believed in two cases. MODIFIABLE,
// ALWAYS_SENSITIVE, NEVER_EXTRACTABLE, LOCAL and the usages other than its own may be
// unknown. And LOCAL may be false where both ALWAYS_SENSITIVE and NEVER_EXTRACTABLE are
// true: NSS says so of keys it made, and no token may say so of a key that was brought
// to it (PKCS#11 v2.40 §4.9: imported keys have all three false).
func CheckAttributes(o Object, usage Usage) error {
	if !o.Private {
		return fmt.Errorf("%w: key %s has no private half", ErrTemplate, name(o))
	}
	a := o.Attributes
	always, never := is(a.AlwaysSensitive), is(a.NeverExtractable)
	rules := []struct {
		attribute string
		value     *bool
		want      bool
		unknown   bool // may be nil
	}{
		{"CKA_TOKEN", a.Token, true, false},
		{"CKA_PRIVATE", a.Private, true, false},
		{"CKA_SENSITIVE", a.Sensitive, true, false},
		{"CKA_EXTRACTABLE", a.Extractable, false, false},
		{"CKA_ALWAYS_SENSITIVE", a.AlwaysSensitive, true, true},
		{"CKA_NEVER_EXTRACTABLE", a.NeverExtractable, true, true},
		{"CKA_MODIFIABLE", a.Modifiable, false, true},
		{"CKA_SIGN", a.Sign, usage == Sign, usage != Sign},
		{"CKA_SIGN_RECOVER", a.SignRecover, false, true},
		{"CKA_DECRYPT", a.Decrypt, usage == Decrypt, usage != Decrypt},
		{"CKA_DERIVE", a.Derive, usage == Derive, usage != Derive},
		{"CKA_UNWRAP", a.Unwrap, false, true},
	}
	var broken []string
	for _, r := range rules {
		switch {
		case r.value == nil && !r.unknown:
			broken = append(broken, fmt.Sprintf("the token does not tell %s, which must be %t", r.attribute, r.want))
		case r.value != nil && *r.value != r.want:
			broken = append(broken, fmt.Sprintf("%s is %t and must be %t", r.attribute, *r.value, r.want))
		}
	}
	if a.Local != nil && !*a.Local && !(always && never) {
		broken = append(broken, "CKA_LOCAL is false: it was not made on this token")
	}
	if len(broken) > 0 {
		return fmt.Errorf("%w: key %s: %s", ErrTemplate, name(o), strings.Join(broken, ", "))
	}
	return nil
}

func is(b *bool) bool { return b != nil && *b }

// name is a key for people: its label, or its CKA_ID where it has none.
func name(o Object) string { return refName(Ref{ID: o.ID, Label: o.Label}) }

func refName(r Ref) string {
	if r.Label != "" {
		return fmt.Sprintf("%q", r.Label)
	}
	return fmt.Sprintf("with CKA_ID %x", r.ID)
}
