package worker

import (
	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// generate makes a key pair on a session of its own, one at a time, and reads it back.
// An error does not tell whether objects were made: the caller has recorded the CKA_ID
// and removes what has it.
func (t *token) generate(r wire.GenerateRequest) (o wire.Object, err error) {
	g, err := template(r)
	if err != nil {
		return wire.Object{}, err
	}
	t.keys.objects.Lock()
	defer t.keys.objects.Unlock()
	err = t.withSession(pkcs11.CKF_RW_SESSION, func(s session) error {
		if err := s.unused(r); err != nil {
			return err
		}
		public, private, err := s.generate(g)
		if templateRefused(err) {
			if err := s.unused(r); err != nil { // it failed and left something all the same
				return err
			}
			public, private, err = s.generate(g.modifiable())
		}
		if err != nil {
			return failed("C_GenerateKeyPair", err, "generate %s of spec %s on token %q", name(wire.Ref{ID: r.ID, Label: r.Label}), r.Spec, s.token)
		}
		made := half{private, r.ID, r.Label}
		var kind uint
		o, kind, err = s.object(&pair{private: []half{made}, public: []half{{public, r.ID, r.Label}}}, r.Label)
		if err == nil {
			t.keys.learn(made, kind)
		}
		return err
	})
	return o, err
}

func (s session) generate(g generation) (public, private pkcs11.ObjectHandle, err error) {
	return s.ctx.GenerateKeyPair(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(g.mechanism, nil)}, g.public, g.private)
}

// unused returns an error where any object, of whatever class, has the CKA_ID.
func (s session) unused(r wire.GenerateRequest) error {
	ref := wire.Ref{ID: r.ID, Label: r.Label}
	found, err := s.find(name(ref), pkcs11.NewAttribute(pkcs11.CKA_ID, r.ID))
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return reason(wire.KeyNotOne, "generate %s: %d objects on token %q have this CKA_ID already", name(ref), len(found), s.token)
	}
	return s.proveLogin()
}

// templateRefused: the token read the template and did nothing.
func templateRefused(err error) bool {
	switch codeOf(err) {
	case pkcs11.CKR_ATTRIBUTE_READ_ONLY, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID,
		pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_TEMPLATE_INCONSISTENT:
		return true
	}
	return false
}
