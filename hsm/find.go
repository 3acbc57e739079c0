package hsm

import (
	"errors"
	"fmt"
	"slices"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// Find returns the key that an administrator names by ref, out of all that are on a token (Objects
// without a prefix): the one private key with this CKA_ID, label, or both, which may be used for
// usage (invariant 7) and whose public half is known. accept are the labels of keys whose attributes
// the operator accepts as they are (Config.Accept); that a key is not for usage at all cannot be accepted.
//
// The errors say what to do. They wrap ErrKeyNotFound or ErrTemplate, or are a *wire.Error with
// reason wire.KeyNotOne where it cannot be told which key is meant.
func Find(objects []Object, ref Ref, usage Usage, accept []string) (Object, error) {
	if len(ref.ID) == 0 && ref.Label == "" {
		return Object{}, errors.New("a key is named by neither id nor label; give one of them, or both")
	}
	o, err := one(objects, ref)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return Object{}, fmt.Errorf("%w; name a private key that is there: `keysetd check` lists them", err)
	case err != nil:
		return Object{}, fmt.Errorf("%w; name the key by id and label, and see that no other key has its CKA_ID", err)
	}
	if _, err := permitted(o, usage, accept); err != nil {
		if able(o, usage) {
			return Object{}, fmt.Errorf("%w; use a key that obeys them, or put its label in the token's accept_keys and restart keysetd", err)
		}
		return Object{}, fmt.Errorf("%w; use a key that was made to %s", err, usage)
	}
	if len(o.PublicKey) == 0 {
		return Object{}, noPublicHalf(o)
	}
	return o, nil
}

// noPublicHalf says what is wrong with the public half of o, and what to do.
func noPublicHalf(o Object) error {
	if o.Public {
		return fmt.Errorf("the public half of key %s cannot be used; see that exactly one public key on the token has the key's CKA_ID, and that the key is one of %v", name(o), keyspec.All())
	}
	return fmt.Errorf("the token does not tell the public half of key %s; bring its public key or its certificate onto the token with the key's CKA_ID (the key must be one of %v)", name(o), keyspec.All())
}

// one finds the one private key that ref names, which can be told from every other.
func one(objects []Object, ref Ref) (Object, error) {
	o, err := pick(objects, ref)
	if err == nil && o.Duplicates > 0 {
		err = ambiguous(ref, "%d more objects have its CKA_ID", o.Duplicates)
	}
	return o, err
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

// permitted tells whether the attributes of o allow usage. accepted is why they do not, where the
// operator accepts that by the key's label.
func permitted(o Object, usage Usage, accept []string) (accepted, err error) {
	switch broken := CheckAttributes(o, usage); {
	case broken == nil:
		return nil, nil
	case !able(o, usage):
		return nil, fmt.Errorf("%w: key %s is not one to %s", ErrTemplate, name(o), usage)
	case slices.Contains(accept, o.Label):
		return broken, nil
	default:
		return nil, broken
	}
}

// able is false where the token says that the key cannot do this: nothing that it is asked for would succeed.
func able(o Object, usage Usage) bool {
	may := map[Usage]*bool{Sign: o.Attributes.Sign, Decrypt: o.Attributes.Decrypt, Derive: o.Attributes.Derive}[usage]
	return may == nil || *may
}
