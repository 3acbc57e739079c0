package worker

import (
	"sync"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// key is a private key that was found on the token. A signature holds use for reading,
// so that nothing is destroyed under it: some modules crash then.
type key struct {
	handle pkcs11.ObjectHandle
	kind   uint // CKA_KEY_TYPE

	use  sync.RWMutex
	gone bool // guarded by use: destroyed, or about to be
}

// keys remembers handles, since finding one is linear in the objects of the token.
type keys struct {
	// objects is held for reading by whoever looks for objects, until a handle that was
	// found is remembered, and for writing by whoever makes or destroys some. So no
	// handle is remembered whose object is being destroyed; and nobody looks while a key
	// is made, which SoftHSM 2.6.1 answers with CKR_GENERAL_ERROR for the one and half a
	// key for the other. Signatures with a key that is known never wait for it.
	objects sync.RWMutex

	mu       sync.RWMutex // guards the maps; a leaf
	byRef    map[ref]*key
	byHandle map[pkcs11.ObjectHandle]*key // one key may be known by several references
}

// ref is wire.Ref, comparable.
type ref struct{ id, label string }

// acquire returns the key with its lock held for reading. find is called where the key
// is not known yet.
func (k *keys) acquire(r wire.Ref, find func(wire.Ref) (pkcs11.ObjectHandle, uint, error)) (*key, error) {
	for {
		k.mu.RLock()
		found := k.byRef[ref{string(r.ID), r.Label}]
		k.mu.RUnlock()
		if found == nil {
			var err error
			if found, err = k.resolve(r, find); err != nil {
				return nil, err
			}
		}
		found.use.RLock()
		if !found.gone {
			return found, nil
		}
		found.use.RUnlock() // it was destroyed between the two locks: look again
	}
}

func (k *keys) resolve(r wire.Ref, find func(wire.Ref) (pkcs11.ObjectHandle, uint, error)) (*key, error) {
	k.objects.RLock()
	defer k.objects.RUnlock()
	id := ref{string(r.ID), r.Label}
	handle, kind, err := find(r)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	found := k.byHandle[handle]
	if found == nil {
		found = &key{handle: handle, kind: kind}
	}
	k.remember(id, found)
	return found, nil
}

// learn remembers the one private key with h's CKA_ID, which was just seen, so that its
// first signature does not have to look for it: that would wait for a key that is being made. The
// caller holds objects.
func (k *keys) learn(h half, kind uint) {
	if len(h.id) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.byHandle[h.handle]
	if known == nil {
		known = &key{handle: h.handle, kind: kind}
	}
	for _, r := range []ref{{string(h.id), ""}, {string(h.id), h.label}} {
		k.remember(r, known)
	}
}

// remember is for holders of mu.
func (k *keys) remember(r ref, found *key) {
	if k.byRef == nil {
		k.byRef, k.byHandle = map[ref]*key{}, map[pkcs11.ObjectHandle]*key{}
	}
	k.byRef[r], k.byHandle[found.handle] = found, found
}

// forget drops a handle that the module no longer knows; the next user looks again.
func (k *keys) forget(gone *key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, key := range k.byRef {
		if key == gone {
			delete(k.byRef, id)
		}
	}
	if k.byHandle[gone.handle] == gone {
		delete(k.byHandle, gone.handle)
	}
}

// withdraw waits until nobody uses the object and sees to it that nobody will. The
// caller holds objects for writing, until the object is destroyed.
func (k *keys) withdraw(handle pkcs11.ObjectHandle) {
	k.mu.RLock()
	known := k.byHandle[handle]
	k.mu.RUnlock()
	if known == nil {
		return
	}
	known.use.Lock()
	defer known.use.Unlock()
	known.gone = true
	k.forget(known)
}

// findKey finds the one private key that r names.
func (t *token) findKey(r wire.Ref) (handle pkcs11.ObjectHandle, kind uint, err error) {
	if len(r.ID) == 0 && r.Label == "" {
		return 0, 0, refused(pkcs11.CKR_ARGUMENTS_BAD, "look for a key: neither CKA_ID nor label was given")
	}
	err = t.withSession(0, func(s session) error {
		found, err := s.find(name(r), refTemplate(pkcs11.CKO_PRIVATE_KEY, r)...)
		if err != nil {
			return err
		}
		switch len(found) {
		case 0:
			if err := s.proveLogin(); err != nil {
				return err
			}
			return reason(wire.KeyMissing, "%s is not on token %q", name(r), s.token)
		case 1:
		default:
			return reason(wire.KeyNotOne, "%s is on token %q %d times; which one is meant cannot be told", name(r), s.token, len(found))
		}
		handle = found[0]
		values, err := s.attributes(handle, pkcs11.CKA_KEY_TYPE)
		if err != nil {
			return err
		}
		kind = ulong(values[pkcs11.CKA_KEY_TYPE])
		return nil
	})
	return handle, kind, err
}
