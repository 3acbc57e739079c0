package hsm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"

	"keysetd.example/hsm/wire"
)

func TestExamine(t *testing.T) {
	pub := func() (crypto.PublicKey, []byte) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		return k.Public(), der
	}
	ours, der := pub()
	_, otherDER := pub()
	key := func(alter func(*Object)) Object {
		o := goodKey(Sign)
		o.ID, o.Label, o.PublicKey = []byte{1}, "a", der
		if alter != nil {
			alter(&o)
		}
		return o
	}
	other := key(func(o *Object) { o.ID, o.Label, o.PublicKey = []byte{2}, "b", otherDER })
	byID, byLabel, both := Ref{ID: []byte{1}}, Ref{Label: "a"}, Ref{ID: []byte{1}, Label: "a"}
	extractable := key(func(o *Object) { o.Attributes.Extractable = new(true) })
	for _, c := range []struct {
		name     string
		objects  []Object
		ref      Ref
		accept   []string
		err      error // nil for none
		reason   wire.Reason
		accepted bool
	}{
		{name: "by id", objects: []Object{other, key(nil)}, ref: byID},
		{name: "by label", objects: []Object{other, key(nil)}, ref: byLabel},
		{name: "by both", objects: []Object{other, key(nil)}, ref: both},
		{name: "not there", objects: []Object{other}, ref: byID, err: ErrKeyNotFound},
		{name: "nothing there", ref: byLabel, err: ErrKeyNotFound},
		{name: "another label", objects: []Object{key(nil)}, ref: Ref{ID: []byte{1}, Label: "b"}, err: ErrKeyNotFound},
		{name: "public half only", objects: []Object{key(func(o *Object) { o.Private = false })}, ref: byID, err: ErrKeyNotFound},
		{name: "same CKA_ID", objects: []Object{key(func(o *Object) { o.Duplicates = 1 })}, ref: both, reason: wire.KeyNotOne},
		{name: "its label hidden by another's", objects: []Object{key(func(o *Object) { o.Duplicates, o.Label = 1, "x" })}, ref: both, reason: wire.KeyNotOne},
		{name: "same label", objects: []Object{key(nil), key(func(o *Object) { o.ID = []byte{2} })}, ref: byLabel, reason: wire.KeyNotOne},
		{name: "same label, told apart", objects: []Object{key(nil), key(func(o *Object) { o.ID = []byte{2} })}, ref: both},
		{name: "another public half", objects: []Object{key(func(o *Object) { o.PublicKey = otherDER })}, ref: both, err: ErrWrongKey},
		{name: "another public half, accepted", objects: []Object{key(func(o *Object) { o.PublicKey = otherDER })}, ref: both, accept: []string{"a"}, err: ErrWrongKey},
		{name: "no public half", objects: []Object{key(func(o *Object) { o.PublicKey = nil })}, ref: both},
		{name: "extractable", objects: []Object{extractable}, ref: both, err: ErrTemplate},
		{name: "extractable, another accepted", objects: []Object{extractable}, ref: both, accept: []string{"", "A", "ab"}, err: ErrTemplate},
		{name: "extractable, accepted", objects: []Object{extractable}, ref: byID, accept: []string{"a"}, accepted: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, accepted, err := examine(c.objects, c.ref, ours, Sign, c.accept)
			e, isWire := errors.AsType[*wire.Error](err)
			switch {
			case c.err != nil && !errors.Is(err, c.err) || isWire != (c.reason != "") || isWire && e.Reason != c.reason:
				t.Errorf("error %v, want %v %s", err, c.err, c.reason)
			case c.err == nil && c.reason == "" && err != nil:
				t.Errorf("error %v", err)
			case c.err != ErrKeyNotFound && errors.Is(err, ErrKeyNotFound):
				t.Errorf("%v says that the key is not there", err)
			case (accepted != nil) != c.accepted:
				t.Errorf("accepted: %v", accepted)
			case err == nil && string(o.ID) != "\x01":
				t.Errorf("object %+v", o)
			}
		})
	}
}
