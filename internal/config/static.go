package config

import (
	"encoding/hex"
	"errors"
	"math"
	"regexp"

	"keysetd.example/rotation"
)

// StaticKey is what the administrator names for one key type: at least one of active and
// previous.
type StaticKey struct {
	// Active signs, or decrypts. Left out: algorithms of this type are not offered.
	Active *StaticRef `yaml:"active"`
	// Previous did so before, and stays published, or decrypts, for as long as it stands here. Left
	// out: none; what was active is retired as retain says.
	Previous *StaticRef `yaml:"previous"`
}

// StaticRef names a key pair that is on the keyset's token. No two of them name the same one.
type StaticRef struct {
	// Label of the key (CKA_LABEL, at most 65535 bytes). At least one of label and id is required; with both,
	// both must match.
	Label string `yaml:"label"`
	// ID of the key (CKA_ID, at most 65535 bytes), in hex.
	ID KeyID `yaml:"id"`
	// KID in JWKS and tokens: 1 to 128 printable ASCII characters without space, quotes and
	// backslash. Left out: the key's thumbprint (RFC 7638).
	KID string `yaml:"kid"`
	// ChainFile is the path of a PEM file with the key's certificate chain, leaf first; it is read
	// when the configuration is. Left out: no x5c.
	ChainFile string `yaml:"chain"`
	// Chain is what chain holds, X.509 DER.
	Chain [][]byte `yaml:"-"`
}

// KeyID is a CKA_ID.
type KeyID []byte

// maxRef is how long a label and an id may be, in bytes (hsm.Token.Key).
const maxRef = math.MaxUint16

var kidLike = regexp.MustCompile(`^[!#-&(-\[\]-~]{1,128}$`)

const aKeyID = `an even number of hex digits, in quotes, as in "0a1b"`

func parseKeyID(s string) (KeyID, error) {
	id, err := hex.DecodeString(s)
	if err != nil {
		return nil, errors.New("must be " + aKeyID)
	}
	return id, nil
}

func parseKeyType(s string) (rotation.KeyType, error) {
	for _, t := range rotation.KeyTypes() {
		if string(t) == s {
			return t, nil
		}
	}
	return "", errors.New("must be one of " + join(rotation.KeyTypes()))
}

func (k *Keyset) checkStatic(src *source, keyset path) error {
	at := keyset.join("static")
	if len(k.Static) == 0 {
		return src.fail(at, "names no key; name them by type, as in rsa: {active: {label: LABEL}}")
	}
	active := false
	for _, t := range rotation.KeyTypes() {
		s, ok := k.Static[t]
		switch {
		case !ok:
			continue
		case s.Active == nil && s.Previous == nil:
			return src.fail(at.join(string(t)), "names no key; give active, previous or both")
		}
		for _, p := range s.places() {
			if err := p.ref.check(src, at.join(string(t)).join(p.name), t); err != nil {
				return err
			}
		}
		active = active || s.Active != nil
	}
	if !active {
		return src.fail(at, "has previous keys only; name at least one that is active")
	}
	return nil
}

// staticPlace is where a key stands within its type.
type staticPlace struct {
	name string
	ref  *StaticRef
}

func (s StaticKey) places() (given []staticPlace) {
	for _, p := range []staticPlace{{"active", s.Active}, {"previous", s.Previous}} {
		if p.ref != nil {
			given = append(given, p)
		}
	}
	return given
}

func (r *StaticRef) check(src *source, at path, t rotation.KeyType) error {
	switch {
	case r.Label == "" && len(r.ID) == 0:
		return src.fail(at, "does not say which key; give its label (CKA_LABEL), its id (CKA_ID) or both")
	case len(r.Label) > maxRef:
		return src.fail(at.join("label"), "is longer than the %d bytes that a key's label may have", maxRef)
	case len(r.ID) > maxRef:
		return src.fail(at.join("id"), "is longer than the %d bytes that a key's CKA_ID may have", maxRef)
	case r.KID != "" && !kidLike.MatchString(r.KID):
		return src.fail(at.join("kid"), "must be 1 to 128 printable ASCII characters without space, quotes and backslash")
	case r.ChainFile == "":
		return nil
	}
	r.ChainFile = src.abs(r.ChainFile)
	chain, err := src.chain(r.ChainFile, t)
	if err != nil {
		return src.fail(at.join("chain"), "%v", err)
	}
	r.Chain = chain
	return nil
}
