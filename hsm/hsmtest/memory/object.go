package memory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// object is a key pair.
type object struct {
	shown wire.Object
	key   crypto.Signer
}

func (o *object) matches(ref wire.Ref) bool {
	return (len(ref.ID) == 0 || string(ref.ID) == string(o.shown.ID)) &&
		(ref.Label == "" || ref.Label == o.shown.Label) &&
		(len(ref.ID) != 0 || ref.Label != "")
}

func newKey(s keyspec.Spec, usage wire.Usage) (crypto.Signer, error) {
	if usage == wire.Decrypt && !s.RSA() || usage == wire.Derive && s.Curve() == nil {
		return nil, &wire.Error{Reason: wire.Unsupported, Message: "make a key: this spec is not for this usage"}
	}
	if s.RSA() {
		return rsa.GenerateKey(rand.Reader, s.Bits())
	}
	if c := s.Curve(); c != nil {
		return ecdsa.GenerateKey(c, rand.Reader)
	}
	if s != keyspec.Ed25519 {
		return nil, &wire.Error{Reason: wire.Unsupported, Message: "make a key: unknown key spec"}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func newObject(r wire.GenerateRequest) (*object, error) {
	key, err := newKey(r.Spec, r.Usage)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &object{key: key, shown: wire.Object{
		ID: slices.Clone(r.ID), Label: r.Label, Private: true, Public: true, PublicKey: der,
		Attributes: wire.PrivateAttributes{
			Token: new(true), Private: new(true), Sensitive: new(true), AlwaysSensitive: new(true),
			Extractable: new(false), NeverExtractable: new(true), Modifiable: new(false), Local: new(true),
			Sign: new(r.Usage == wire.Sign), SignRecover: new(false), Unwrap: new(false),
			Decrypt: new(r.Usage == wire.Decrypt), Derive: new(r.Usage == wire.Derive),
		},
	}}, nil
}

// list returns copies; the caller holds t.mu.
func (t *Token) list(prefix string) []wire.Object {
	all := []wire.Object{}
	for _, o := range t.objects {
		if !strings.HasPrefix(o.shown.Label, prefix) {
			continue
		}
		shown := o.shown
		for _, other := range t.objects {
			if other != o && string(other.shown.ID) == string(shown.ID) {
				shown.Duplicates++
			}
		}
		all = append(all, shown)
	}
	return all
}

// remove returns what went; the caller holds t.mu.
func (t *Token) remove(ref wire.Ref) (gone []*object) {
	gone, t.objects = split(t.objects, ref)
	return gone
}

// split parts the objects that ref names from the others.
func split(objects []*object, ref wire.Ref) (named, others []*object) {
	for _, o := range objects {
		if o.matches(ref) {
			named = append(named, o)
		} else {
			others = append(others, o)
		}
	}
	return named, others
}

// find returns the one key that ref names; the caller holds t.mu.
func (t *Token) find(ref wire.Ref) (*object, error) {
	var found *object
	for _, o := range t.objects {
		if !o.matches(ref) {
			continue
		}
		if found != nil {
			return nil, &wire.Error{Reason: wire.KeyNotOne, Message: "find the key: more than one matches"}
		}
		found = o
	}
	if found == nil {
		return nil, &wire.Error{Reason: wire.KeyMissing, Message: "find the key: none matches"}
	}
	return found, nil
}

var errKeyType = errors.New("the mechanism is not one of the key's")

func sign(key crypto.Signer, m wire.Mechanism, data []byte) ([]byte, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		switch m {
		case wire.RSAPKCS:
			return rsa.SignPKCS1v15(nil, k, 0, data) // 0: data is the whole DigestInfo
		case wire.RSAPSS256, wire.RSAPSS384, wire.RSAPSS512:
			h := map[wire.Mechanism]crypto.Hash{wire.RSAPSS256: crypto.SHA256, wire.RSAPSS384: crypto.SHA384, wire.RSAPSS512: crypto.SHA512}[m]
			return rsa.SignPSS(rand.Reader, k, h, data, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	case *ecdsa.PrivateKey:
		if m == wire.ECDSA {
			r, s, err := ecdsa.Sign(rand.Reader, k, data)
			if err != nil {
				return nil, err
			}
			n := (k.Params().N.BitLen() + 7) / 8
			return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...), nil
		}
	case ed25519.PrivateKey:
		if m == wire.EdDSA {
			return ed25519.Sign(k, data), nil
		}
	}
	return nil, errKeyType
}
