package hsm

import (
	"crypto"
	"crypto/x509"
	"fmt"
)

// examine looks for the key that ref names among all that are on a token, and tells
// whether it may be used: that there is exactly one, that its public half is the one that is expected,
// and that it obeys invariant 7. accepted is why it does not, where the operator accepts it
// all the same; only attributes can be accepted.
func examine(objects []Object, ref Ref, pub crypto.PublicKey, usage Usage, accept []string) (o Object, accepted, err error) {
	o, err = one(objects, ref)
	if err != nil {
		return o, nil, err
	}
	// Where the token shows no public half, the probe tells whether it is the right key.
	if is, err := x509.ParsePKIXPublicKey(o.PublicKey); err == nil && !equal(is, pub) {
		return o, nil, fmt.Errorf("%w: the public half of key %s on the token is not the one on record", ErrWrongKey, refName(ref))
	}
	accepted, err = permitted(o, usage, accept)
	return o, accepted, err
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
