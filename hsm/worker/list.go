package worker

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// half is one object of a key pair.
type half struct {
	handle pkcs11.ObjectHandle
	id     []byte
	label  string
}

// pair is all key objects with one CKA_ID.
type pair struct{ private, public []half }

// list reads every key of which some object's label begins with prefix, sorted by label
// and CKA_ID. Objects with the same CKA_ID belong together whatever their labels.
func (t *token) list(prefix string) (objects []wire.Object, err error) {
	t.keys.objects.RLock()
	defer t.keys.objects.RUnlock()
	err = t.withSession(0, func(s session) error {
		pairs, err := s.pairs(prefix)
		if err != nil {
			return err
		}
		objects = make([]wire.Object, 0, len(pairs))
		for _, p := range pairs {
			o, kind, err := s.object(p, prefix)
			if codeOf(err) == pkcs11.CKR_OBJECT_HANDLE_INVALID {
				if err := s.vanished(err, slices.Concat(p.private, p.public)...); err != nil {
					return err
				}
				continue // destroyed since it was found, by us or by another program
			}
			if err != nil {
				return err
			}
			objects = append(objects, o)
			if len(p.private) == 1 {
				t.keys.learn(p.private[0], kind)
			}
		}
		return s.proveLogin()
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(objects, func(a, b wire.Object) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID))
	})
	return objects, nil
}

// pairs finds the private and the public keys, and brings the halves together.
func (s session) pairs(prefix string) ([]*pair, error) {
	private, err := s.halves(pkcs11.CKO_PRIVATE_KEY, "private keys")
	if err != nil {
		return nil, err
	}
	public, err := s.halves(pkcs11.CKO_PUBLIC_KEY, "public keys")
	if err != nil {
		return nil, err
	}
	return match(private, public, prefix), nil
}

func (s session) halves(class uint, what string) ([]half, error) {
	handles, err := s.find(what, pkcs11.NewAttribute(pkcs11.CKA_CLASS, class))
	if err != nil {
		return nil, err
	}
	halves := make([]half, 0, len(handles))
	for _, h := range handles {
		v, err := s.attributes(h, pkcs11.CKA_LABEL, pkcs11.CKA_ID)
		if codeOf(err) == pkcs11.CKR_OBJECT_HANDLE_INVALID {
			if err := s.vanished(err, half{handle: h}); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		halves = append(halves, half{handle: h, id: v[pkcs11.CKA_ID], label: string(v[pkcs11.CKA_LABEL])})
	}
	return halves, nil
}

// vanished returns nil if one of these objects is not found any more, else refusal: a token that
// finds an object and refuses its handle has lost its senses, not the object (invariant 5).
func (s session) vanished(refusal error, objects ...half) error {
	var found []pkcs11.ObjectHandle
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		handles, err := s.find("keys", pkcs11.NewAttribute(pkcs11.CKA_CLASS, class))
		if err != nil {
			return err
		}
		found = append(found, handles...)
	}
	for _, o := range objects {
		if !slices.Contains(found, o.handle) {
			return nil
		}
	}
	return refusal
}

// match groups by CKA_ID, and by label the objects that have none.
func match(private, public []half, prefix string) []*pair {
	groups := map[ref]*pair{}
	group := func(h half) *pair {
		key := ref{id: string(h.id)}
		if len(h.id) == 0 {
			key.label = h.label
		}
		if groups[key] == nil {
			groups[key] = &pair{}
		}
		return groups[key]
	}
	for _, h := range private {
		p := group(h)
		p.private = append(p.private, h)
	}
	for _, h := range public {
		p := group(h)
		p.public = append(p.public, h)
	}
	var wanted []*pair
	for _, p := range groups {
		ours := func(h half) bool { return strings.HasPrefix(h.label, prefix) }
		if slices.ContainsFunc(p.private, ours) || slices.ContainsFunc(p.public, ours) {
			wanted = append(wanted, p)
		}
	}
	return wanted
}

// object reads a key. Where there are several of a class it is the one whose label
// begins with prefix that is described; the others are counted. kind is the private half's
// CKA_KEY_TYPE.
func (s session) object(p *pair, prefix string) (o wire.Object, kind uint, err error) {
	o = wire.Object{
		Private:    len(p.private) > 0,
		Public:     len(p.public) > 0,
		Duplicates: duplicates(p),
	}
	if o.Public {
		h := preferred(p.public, prefix)
		o.ID, o.Label = h.id, h.label
		v, err := s.attributes(h.handle, publicTypes...)
		if err != nil {
			return wire.Object{}, 0, err
		}
		// Of several nobody can say which is meant: anyone may lay a public object beside
		// ours, without logging in.
		if len(p.public) == 1 {
			o.PublicKey = v.spki()
		}
	}
	if o.Private {
		h := preferred(p.private, prefix)
		o.ID, o.Label = h.id, h.label
		types := privateTypes
		if o.PublicKey == nil {
			types = slices.Concat(privateTypes, publicTypes)
		}
		v, err := s.attributes(h.handle, types...)
		if err != nil {
			return wire.Object{}, 0, err
		}
		kind = ulong(v[pkcs11.CKA_KEY_TYPE])
		o.Attributes = v.private()
		if o.PublicKey == nil {
			o.PublicKey = v.spki()
		}
		if o.PublicKey == nil && !o.Public {
			if o.PublicKey, err = s.certified(h); err != nil {
				return wire.Object{}, 0, err
			}
		}
	}
	return o, kind, nil
}

// duplicates counts the private keys beside the first, or the public ones where there is none.
func duplicates(p *pair) int {
	if len(p.private) > 0 {
		return len(p.private) - 1
	}
	return max(0, len(p.public)-1)
}

func preferred(halves []half, prefix string) half {
	i := slices.IndexFunc(halves, func(h half) bool { return strings.HasPrefix(h.label, prefix) })
	return halves[max(i, 0)]
}
