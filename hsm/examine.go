package hsm

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"

	"keysetd.example/hsm/wire"
)

// examine looks for the key that ref names among all that are on a token, and tells
// whether it may sign: that there is exactly one, that its public half is the one that is expected,
// and that it obeys invariant 7. accepted is why it does not, where the operator accepts it
// all the same; only attributes can be accepted.
func examine(objects []Object, ref Ref, pub crypto.PublicKey, accept []string) (o Object, accepted, err error) {
	o, err = pick(objects, ref)
	if err != nil {
		return o, nil, err
	}
	if o.Duplicates > 0 {
		return o, nil, ambiguous(ref, "%d more objects have its CKA_ID", o.Duplicates)
	}
	// Where the token shows no public half, the probe tells whether it is the right key.
	if is, err := x509.ParsePKIXPublicKey(o.PublicKey); err == nil && !equal(is, pub) {
		return o, nil, fmt.Errorf("%w: the public half of key %s on the token is not the one on record", ErrWrongKey, refName(ref))
	}
	if broken := CheckAttributes(o, Sign); broken != nil {
		if slices.Contains(accept, o.Label) {
			return o, broken, nil
		}
		return o, nil, broken
	}
	return o, nil, nil
}

// pick finds the one private key that ref names. "Not found" is said only where it is certain:
// of objects with the same CKA_ID an inventory shows one label.
func pick(objects []Object, ref Ref) (Object, error) {
	var found []Object
	hidden := false
	for _, o := range objects {
		switch {
		case len(ref.ID) > 0 && string(ref.ID) != string(o.ID) || !o.Private && o.Duplicates == 0:
		case ref.Label == "" || ref.Label == o.Label:
			found = append(found, o)
		case o.Duplicates > 0:
			hidden = true
		}
	}
	switch {
	case len(found) > 1:
		return Object{}, ambiguous(ref, "%d keys have this name", len(found))
	case len(found) == 1:
		return found[0], nil
	case hidden:
		return Object{}, ambiguous(ref, "it may be one of several objects with the same CKA_ID")
	}
	return Object{}, fmt.Errorf("%w: key %s", ErrKeyNotFound, refName(ref))
}

func ambiguous(ref Ref, format string, args ...any) error {
	return &wire.Error{Reason: wire.KeyNotOne, Message: fmt.Sprintf("which key is key %s cannot be told: ", refName(ref)) + fmt.Sprintf(format, args...)}
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
