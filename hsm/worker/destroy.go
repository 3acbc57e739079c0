package worker

import (
	"bytes"
	"errors"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// destroyed are the classes that go, the private key first: it is what matters, and the
// rest is found again by the next attempt.
var destroyed = []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_CERTIFICATE}

// destroy removes the private keys, public keys and certificates with exactly r.ID, and
// with r.Label where it is given. It waits for the signatures that use them. That
// nothing is left counts as success only on a session proven logged in.
func (t *token) destroy(r wire.Ref) (reply wire.DestroyReply, err error) {
	if len(r.ID) == 0 {
		return reply, refused(pkcs11.CKR_ARGUMENTS_BAD, "destroy %s: without a CKA_ID it cannot be told from other keys", name(r))
	}
	t.keys.objects.Lock()
	defer t.keys.objects.Unlock()
	err = t.withSession(pkcs11.CKF_RW_SESSION, func(s session) error {
		var failures []error
		for _, class := range destroyed {
			n, err := t.destroyClass(s, class, r)
			reply.Objects += n
			failures = append(failures, err)
		}
		return errors.Join(append(failures, s.proveLogin())...)
	})
	return reply, err
}

// destroyClass goes on after an object that it cannot destroy.
func (t *token) destroyClass(s session, class uint, r wire.Ref) (n int, err error) {
	found, err := s.find(name(r), refTemplate(class, r)...)
	if err != nil {
		return 0, err
	}
	var failures []error
	for _, o := range found {
		gone, err := t.destroyObject(s, o, r)
		if gone {
			n++
		}
		failures = append(failures, err)
	}
	return n, errors.Join(failures...)
}

func (t *token) destroyObject(s session, o pkcs11.ObjectHandle, r wire.Ref) (gone bool, err error) {
	v, err := s.attributes(o, pkcs11.CKA_ID)
	switch {
	case codeOf(err) == pkcs11.CKR_OBJECT_HANDLE_INVALID:
		return false, nil // another program was faster
	case err != nil:
		return false, err
	case !bytes.Equal(v[pkcs11.CKA_ID], r.ID):
		return false, ckr("C_FindObjects", pkcs11.CKR_GENERAL_ERROR, "destroy %s: the token found an object with another CKA_ID; nothing was done to it", name(r))
	}
	t.keys.withdraw(o)
	switch err := s.ctx.DestroyObject(s.handle, o); {
	case err == nil:
		return true, nil
	case codeOf(err) == pkcs11.CKR_OBJECT_HANDLE_INVALID:
		return false, nil
	default:
		return false, failed("C_DestroyObject", err, "destroy %s on token %q", name(r), s.token)
	}
}
