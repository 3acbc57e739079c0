package hsm

import (
	"errors"
	"strings"
	"testing"

	"keysetd.example/hsm/wire"
)

func TestFind(t *testing.T) {
	key := func(u Usage, alter ...func(*Object)) Object {
		o := goodKey(u)
		o.ID, o.Label, o.Public, o.PublicKey = []byte{1}, "a", true, []byte("PKIX")
		for _, f := range alter {
			f(&o)
		}
		return o
	}
	other := key(Sign, func(o *Object) { o.ID, o.Label = []byte{2}, "b" })
	called := func(label string) func(*Object) { return func(o *Object) { o.Label = label } }
	extractable := func(o *Object) { o.Attributes.Extractable = new(true) }
	noPublic := func(o *Object) { o.Public, o.PublicKey = false, nil }
	byID, byLabel, both := Ref{ID: []byte{1}}, Ref{Label: "a"}, Ref{ID: []byte{1}, Label: "a"}
	for _, c := range []struct {
		name    string
		objects []Object
		ref     Ref
		usage   Usage
		accept  []string
		err     error  // wrapped
		not     bool   // more than one
		says    string // in the error, which is there if this is not empty
	}{
		{name: "by id", objects: []Object{other, key(Sign)}, ref: byID, usage: Sign},
		{name: "by label", objects: []Object{other, key(Sign)}, ref: byLabel, usage: Sign},
		{name: "by both", objects: []Object{key(Sign), other}, ref: both, usage: Sign},
		{name: "decrypts", objects: []Object{key(Decrypt)}, ref: both, usage: Decrypt},
		{name: "derives", objects: []Object{key(Derive)}, ref: both, usage: Derive},
		{name: "its public half by itself too", objects: []Object{key(Sign), {ID: []byte{3}, Label: "a", Public: true, PublicKey: []byte("PKIX")}}, ref: byLabel, usage: Sign},
		{name: "by nothing", objects: []Object{key(Sign)}, usage: Sign, says: "neither id nor label"},
		{name: "not there", objects: []Object{other}, ref: byID, usage: Sign, err: ErrKeyNotFound, says: "keysetd check"},
		{name: "nothing there", ref: byLabel, usage: Sign, err: ErrKeyNotFound, says: `"a"`},
		{name: "another label", objects: []Object{key(Sign)}, ref: Ref{ID: []byte{1}, Label: "b"}, usage: Sign, err: ErrKeyNotFound, says: "name a private key"},
		{name: "public half only", objects: []Object{key(Sign, func(o *Object) { o.Private = false })}, ref: byID, usage: Sign, err: ErrKeyNotFound, says: "name a private key"},
		{name: "two of a label", objects: []Object{key(Sign), key(Sign, func(o *Object) { o.ID = []byte{2} })}, ref: byLabel, usage: Sign, not: true, says: "id and label"},
		{name: "two of a label, told apart", objects: []Object{key(Sign), key(Sign, func(o *Object) { o.ID = []byte{2} })}, ref: both, usage: Sign},
		{name: "two of an id", objects: []Object{key(Sign), key(Sign, called("b"))}, ref: byID, usage: Sign, not: true, says: "id and label"},
		{name: "same CKA_ID", objects: []Object{key(Sign, func(o *Object) { o.Duplicates = 1 })}, ref: both, usage: Sign, not: true, says: "no other key has its CKA_ID"},
		{name: "same CKA_ID, accepted", objects: []Object{key(Sign, func(o *Object) { o.Duplicates = 1 })}, ref: both, usage: Sign, accept: []string{"a"}, not: true, says: "no other key has its CKA_ID"},
		{name: "extractable", objects: []Object{key(Sign, extractable)}, ref: both, usage: Sign, err: ErrTemplate, says: "accept_keys and restart keysetd"},
		{name: "extractable, another accepted", objects: []Object{key(Sign, extractable)}, ref: both, usage: Sign, accept: []string{"", "A", "ab"}, err: ErrTemplate, says: "CKA_EXTRACTABLE"},
		{name: "extractable, accepted", objects: []Object{key(Sign, extractable)}, ref: byID, usage: Sign, accept: []string{"a"}},
		{name: "also signs", objects: []Object{key(Decrypt, func(o *Object) { o.Attributes.Sign = new(true) })}, ref: both, usage: Decrypt, err: ErrTemplate, says: "CKA_SIGN"},
		{name: "also signs, accepted", objects: []Object{key(Decrypt, func(o *Object) { o.Attributes.Sign = new(true) })}, ref: both, usage: Decrypt, accept: []string{"a"}},
		{name: "signs only", objects: []Object{key(Sign)}, ref: both, usage: Decrypt, err: ErrTemplate, says: "made to decrypt"},
		{name: "signs only, accepted", objects: []Object{key(Sign)}, ref: both, usage: Decrypt, accept: []string{"a"}, err: ErrTemplate, says: "made to decrypt"},
		{name: "decrypts only, accepted", objects: []Object{key(Decrypt)}, ref: both, usage: Sign, accept: []string{"a"}, err: ErrTemplate, says: "made to sign"},
		{name: "derives only, extractable, accepted", objects: []Object{key(Derive, extractable)}, ref: both, usage: Decrypt, accept: []string{"a"}, err: ErrTemplate, says: "made to decrypt"},
		{name: "whether it derives is not told, accepted", objects: []Object{key(Derive, func(o *Object) { o.Attributes.Derive = nil })}, ref: both, usage: Derive, accept: []string{"a"}},
		{name: "no public half", objects: []Object{key(Sign, noPublic)}, ref: both, usage: Sign, says: "bring its public key or its certificate"},
		{name: "no public half, accepted", objects: []Object{key(Sign, noPublic)}, ref: both, usage: Sign, accept: []string{"a"}, says: "with the key's CKA_ID"},
		{name: "the public half has the label and another CKA_ID", objects: []Object{key(Sign, noPublic), {ID: []byte{3}, Label: "a", Public: true, PublicKey: []byte("PKIX")}}, ref: byLabel, usage: Sign, says: "bring its public key"},
		{name: "a public half of no use", objects: []Object{key(Sign, func(o *Object) { o.PublicKey = nil })}, ref: both, usage: Sign, says: "rsa-2048"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := Find(c.objects, c.ref, c.usage, c.accept)
			if c.says == "" {
				if err != nil || string(o.ID) != "\x01" || o.Label != "a" || o.PublicKey == nil {
					t.Errorf("%+v, %v", o, err)
				}
				return
			}
			if err == nil || o.ID != nil || !strings.Contains(err.Error(), c.says) || c.err != nil && !errors.Is(err, c.err) {
				t.Fatalf("%+v, error %v; want %v that says %q", o, err, c.err, c.says)
			}
			for _, sentinel := range []error{ErrKeyNotFound, ErrTemplate} {
				if sentinel != c.err && errors.Is(err, sentinel) {
					t.Errorf("%v is taken for %v", err, sentinel)
				}
			}
			if e, ok := errors.AsType[*wire.Error](err); ok != c.not || ok && e.Reason != wire.KeyNotOne {
				t.Errorf("%v: more than one: %v", err, ok)
			}
		})
	}
}
