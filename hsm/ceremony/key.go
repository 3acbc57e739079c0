package ceremony

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/ThalesIgnite/crypto11"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// idLength of a new CKA_ID, in bytes: random, so that no two CAs share one.
const idLength = 16

func newID() []byte {
	id := make([]byte, idLength)
	rand.Read(id) // never fails
	return id
}

// unused refuses a label or an id that any object has which a look through the worker did not list:
// certificates and secret keys. crypto11 tells "none" and "cannot tell" apart only on a session that works, which
// the login a moment ago was.
func (s *session) unused(ctx context.Context, id []byte, label string) error {
	_, err := within(ctx, signingLimit, "look for objects with the new key's label", func() (struct{}, error) {
		for _, by := range []struct{ id, label []byte }{{label: []byte(label)}, {id: id}} {
			cert, err := s.FindCertificate(by.id, by.label, nil)
			if err != nil || cert != nil {
				return struct{}{}, errors.Join(err, taken(cert != nil, "a certificate", label))
			}
			secrets, err := s.FindKeys(by.id, by.label)
			if err != nil || len(secrets) > 0 {
				return struct{}{}, errors.Join(err, taken(len(secrets) > 0, "a secret key", label))
			}
			pairs, err := s.FindKeyPairs(by.id, by.label)
			if err != nil || len(pairs) > 0 {
				return struct{}{}, errors.Join(err, taken(len(pairs) > 0, "a key pair", label))
			}
		}
		return struct{}{}, nil
	})
	return err
}

func taken(is bool, what, label string) error {
	if !is {
		return nil
	}
	return fmt.Errorf("%s on the token has the label %q, or its id; nothing that exists is made over, so give another label", what, label)
}

// generate makes the key pair of invariant 7: the private key stays on the token, shows its value to
// nobody, signs only, and never changes where the token lets a template say so.
func (s *session) generate(ctx context.Context, spec keyspec.Spec, id []byte, label string) (crypto11.Signer, error) {
	what := fmt.Sprintf("make the key %q (%s) on the token", label, spec)
	return within(ctx, makingLimit, what, func() (crypto11.Signer, error) {
		signer, err := s.try(spec, id, label, true)
		if templateRefused(err) {
			signer, err = s.try(spec, id, label, false)
		}
		return signer, err
	})
}

func (s *session) try(spec keyspec.Spec, id []byte, label string, fixed bool) (crypto11.Signer, error) {
	public, err := set(id, label, map[crypto11.AttributeType]bool{
		crypto11.CkaToken: true, crypto11.CkaPrivate: false, crypto11.CkaVerify: true,
		crypto11.CkaEncrypt: false, crypto11.CkaWrap: false, // crypto11 would set the first for RSA
	})
	if err != nil {
		return nil, err
	}
	flags := map[crypto11.AttributeType]bool{
		crypto11.CkaToken: true, crypto11.CkaPrivate: true, crypto11.CkaSensitive: true, crypto11.CkaExtractable: false,
		crypto11.CkaSign: true, crypto11.CkaSignRecover: false, crypto11.CkaDecrypt: false, // which crypto11 would set for RSA
		crypto11.CkaDerive: false, crypto11.CkaUnwrap: false,
	}
	if fixed {
		flags[crypto11.CkaModifiable] = false
	}
	private, err := set(id, label, flags)
	if err != nil {
		return nil, err
	}
	if spec.RSA() {
		return s.GenerateRSAKeyPairWithAttributes(public, private, spec.Bits())
	}
	return s.GenerateECDSAKeyPairWithAttributes(public, private, spec.Curve())
}

func set(id []byte, label string, flags map[crypto11.AttributeType]bool) (crypto11.AttributeSet, error) {
	a, err := crypto11.NewAttributeSetWithIDAndLabel(id, []byte(label))
	if err != nil {
		return nil, err
	}
	for attribute, value := range flags {
		if err := a.Set(attribute, value); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// templateRefused: the token read the template and did nothing (CKR_ATTRIBUTE_READ_ONLY, _TYPE_INVALID,
// _VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT).
func templateRefused(err error) bool {
	code, ok := codeOf(err)
	return ok && (code == 0x10 || code == 0x12 || code == 0x13 || code == 0xD1)
}

// find returns the key of a record. crypto11 says "not found" also where it has lost its session.
func (s *session) find(ctx context.Context, o hsm.Object, pub crypto.PublicKey) (crypto11.Signer, error) {
	signer, err := within(ctx, signingLimit, fmt.Sprintf("find the key %q with crypto11", o.Label), func() (crypto11.Signer, error) {
		return s.FindKeyPair(o.ID, []byte(o.Label))
	})
	if err != nil {
		return nil, err
	}
	if signer == nil {
		return nil, fmt.Errorf("crypto11 does not find the key %q, which is on the token; it lost its session: try again", o.Label)
	}
	if !samePublic(signer.Public(), pub) {
		return nil, fmt.Errorf("%w: crypto11 takes another public key for that of %q", hsm.ErrWrongKey, o.Label)
	}
	return signer, nil
}

// patient is a signer whose signatures are waited for until ctx ends.
type patient struct {
	crypto.Signer
	ctx context.Context
}

// Sign implements crypto.Signer.
func (p patient) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	digest = bytes.Clone(digest) // a call that hangs keeps it
	return within(p.ctx, signingLimit, "sign with the new key", func() ([]byte, error) { return p.Signer.Sign(random, digest, opts) })
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
