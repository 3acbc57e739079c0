package signing

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"time"
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

// proofWait is when to ask again for what needs a key that is not proven to decrypt yet.
const proofWait = time.Second

// decryptsNothing refuses what no key is there for. Where there is none at all, an operator has to make one.
func (ks *keyset) decryptsNothing() *v1.Error {
	e := refuse(v1.NotReady, "", "the keyset has no key that is proven to decrypt yet; `keysetctl status %s` tells why", ks.status.Name)
	if len(ks.recipients) > 0 {
		e.RetryAfterMillis = millis(proofWait)
	}
	return e
}

func (ks *keyset) notProven(which string) *v1.Error {
	e := refuse(v1.NotReady, "", "%s is not proven to decrypt yet; `keysetctl status %s` tells why", which, ks.status.Name)
	e.RetryAfterMillis = millis(proofWait)
	return e
}

// addressees are the keys to try for a message, at least one.
type addressees struct {
	proven []*recipient
	// missing is what to tell if none of them opens it, where one that is not proven yet would have been tried, too.
	missing *v1.Error
	first   bool // and it before all of them
}

// newest is the first of them alone.
func (to addressees) newest() (addressees, error) {
	if to.missing != nil && to.first {
		return to, to.missing
	}
	return addressees{proven: to.proven[:1]}, nil
}

// addressed returns the keys to try for a message: the one that it names, or else those that can do
// its algorithm. Its errors depend on the header alone.
func (ks *keyset) addressed(m *jwe.Message) (to addressees, err error) {
	alg, kid := m.Alg(), m.KID()
	if kid != "" {
		r, err := ks.named(kid, alg)
		return addressees{proven: []*recipient{r}}, err
	}
	for _, r := range ks.recipients {
		switch {
		case len(to.proven) == maxTries:
		case slices.Contains(r.algs, alg):
			to.proven = append(to.proven, r)
		case r.comes(alg) && to.missing == nil:
			to.missing, to.first = ks.notProven("a key that the message may be for, "+quote(r.KID)+","), len(to.proven) == 0
		}
	}
	if len(to.proven) > 0 {
		return to, nil
	}
	proven := ks.decryptsBy()
	switch {
	case len(proven) == 0:
		return to, ks.decryptsNothing()
	case to.missing != nil:
		return to, to.missing
	}
	return to, undecryptable("the keyset has no key for %s; it decrypts by %s", alg, strings.Join(proven, ", "))
}

// comes reports whether the key, of which nothing is proven, may yet turn out to decrypt by alg. Of one that
// is proven to decrypt by something the rest is known, too.
func (r *recipient) comes(alg jose.KeyAlgorithm) bool {
	return len(r.algs) == 0 && slices.Contains(jwa.DecryptionBy(r.Spec), alg)
}

// decryptsBy are the algorithms that some key is proven to decrypt by.
func (ks *keyset) decryptsBy() []string {
	algs := []string{}
	for _, r := range ks.recipients {
		for _, alg := range r.algs {
			if !slices.Contains(algs, string(alg)) {
				algs = append(algs, string(alg))
			}
		}
	}
	return algs
}

func (ks *keyset) named(kid string, alg jose.KeyAlgorithm) (*recipient, error) {
	if slices.Contains(ks.revoked, kid) {
		return nil, recipientRevoked(kid)
	}
	i := slices.IndexFunc(ks.recipients, func(r *recipient) bool { return r.KID == kid })
	switch {
	case i < 0:
		return nil, undecryptable("the header names key %s, which is none of the keyset's, or no longer", quote(kid))
	case slices.Contains(ks.recipients[i].algs, alg):
		return ks.recipients[i], nil
	case ks.recipients[i].comes(alg):
		return nil, ks.notProven("the key " + quote(kid))
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
