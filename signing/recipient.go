package signing

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/jwe"
)

// Decrypter is a private key that decrypts. Errors wrap the sentinels of package hsm.
type Decrypter interface {
	jwe.Unwrapper
	// DecryptUnsupported tells whether the key is not proven to decrypt by RSA-OAEP with this hash,
	// or with hash 0 by key agreement: algorithms that need it are then not offered.
	DecryptUnsupported(hash crypto.Hash) bool
}

// DecryptKey is a key that messages are encrypted to, or were.
type DecryptKey struct {
	KID  string
	Spec keyspec.Spec
	Key  Decrypter
	// Active: others encrypt to it now. The others open what was encrypted before.
	Active bool
	// Chain of the key's certificate, in DER, its own first. Empty: it has none.
	Chain [][]byte
}

// recipient is a key with what it is proven to decrypt by.
type recipient struct {
	DecryptKey
	algs []jose.KeyAlgorithm
}

// maxTries is how many keys are tried for a message that names none.
const maxTries = 4

// recipients are the keys that decrypt, in the order in which they are tried. A key that was
// revoked is not among them (invariant 6).
func (in Keyset) recipients() ([]*recipient, error) {
	if len(in.Decrypters) > 0 && in.Purpose != PurposeEnc {
		return nil, fmt.Errorf("purpose %s cannot have %d keys that decrypt", in.Purpose, len(in.Decrypters))
	}
	var all []*recipient
	for _, k := range in.Decrypters {
		if slices.Contains(in.Revoked, k.KID) {
			continue
		}
		switch {
		case k.KID == "" || !utf8.ValidString(k.KID):
			return nil, fmt.Errorf("kid %q of the %s key is empty or not UTF-8", k.KID, k.Spec)
		case len(jwa.DecryptionBy(k.Spec)) == 0:
			return nil, fmt.Errorf("key %s: a key of spec %q decrypts by no algorithm", k.KID, k.Spec)
		case k.Key == nil:
			return nil, fmt.Errorf("key %s has no handle", k.KID)
		}
		r := &recipient{DecryptKey: k}
		for _, alg := range jwa.DecryptionBy(k.Spec) {
			if !k.Key.DecryptUnsupported(jwa.DecryptionHash(alg)) {
				r.algs = append(r.algs, alg)
			}
		}
		all = append(all, r)
	}
	return all, nil
}

// offered are the algorithms by which others may encrypt to the keyset now.
func (ks *keyset) offered() []string {
	algs := []string{}
	for _, r := range ks.recipients {
		for _, alg := range r.algs {
			if r.Active && !slices.Contains(algs, string(alg)) {
				algs = append(algs, string(alg))
			}
		}
	}
	return algs
}

// current returns the key that others encrypt to by alg; the first one by its first algorithm where
// alg is empty.
func (ks *keyset) current(alg jose.KeyAlgorithm) (*recipient, jose.KeyAlgorithm, error) {
	for _, r := range ks.recipients {
		switch {
		case !r.Active || len(r.algs) == 0:
		case alg == "":
			return r, r.algs[0], nil
		case slices.Contains(r.algs, alg):
			return r, alg, nil
		}
	}
	offered := ks.offered()
	if len(offered) == 0 {
		return nil, "", ks.decryptsNothing()
	}
	return nil, "", refuse(v1.AlgorithmUnavailable, "/alg", "nothing is encrypted to the keyset by %s; it has %s", quote(string(alg)), strings.Join(offered, ", "))
}

func (ks *keyset) decryptsNothing() *v1.Error {
	return refuse(v1.NotReady, "", "the keyset has no key that is proven to decrypt yet; `keysetctl status %s` tells why", ks.status.Name)
}

// addressed returns the keys to try for a message: the one that it names, or else those that can do
// its algorithm. Its errors depend on the header alone.
func (ks *keyset) addressed(m *jwe.Message) ([]*recipient, error) {
	alg, kid := m.Alg(), m.KID()
	if kid != "" {
		return ks.named(kid, alg)
	}
	var found []*recipient
	proven := []string{}
	for _, r := range ks.recipients {
		for _, a := range r.algs {
			if !slices.Contains(proven, string(a)) {
				proven = append(proven, string(a))
			}
		}
		if slices.Contains(r.algs, alg) && len(found) < maxTries {
			found = append(found, r)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case len(proven) == 0:
		return nil, ks.decryptsNothing()
	}
	return nil, undecryptable("the keyset has no key for %s; it decrypts by %s", alg, strings.Join(proven, ", "))
}

func (ks *keyset) named(kid string, alg jose.KeyAlgorithm) ([]*recipient, error) {
	if slices.Contains(ks.revoked, kid) {
		return nil, recipientRevoked(kid)
	}
	i := slices.IndexFunc(ks.recipients, func(r *recipient) bool { return r.KID == kid })
	switch {
	case i < 0:
		return nil, undecryptable("the header names key %s, which is none of the keyset's, or no longer", quote(kid))
	case slices.Contains(ks.recipients[i].algs, alg):
		return ks.recipients[i : i+1], nil
	case len(ks.recipients[i].algs) == 0:
		return nil, refuse(v1.NotReady, "", "the key %s is not proven to decrypt yet; `keysetctl status %s` tells why", quote(kid), ks.status.Name)
	}
	return nil, undecryptable("the key %s does not decrypt by %s", quote(kid), alg)
}

// undecryptable refuses a message for what everybody can see.
func undecryptable(format string, args ...any) *v1.Error {
	return refuse(v1.DecryptionFailed, "", format, args...)
}

func recipientRevoked(kid string) *v1.Error {
	return undecryptable("the key %s was revoked, and decrypts nothing any more", quote(kid))
}
