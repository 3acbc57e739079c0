package hsm

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"keysetd.example/hsm/wire"
)

func goodKey(u Usage) Object {
	return Object{Label: "k", Private: true, Attributes: wire.PrivateAttributes{
		Token: new(true), Private: new(true), Sensitive: new(true), AlwaysSensitive: new(true),
		Extractable: new(false), NeverExtractable: new(true), Modifiable: new(false), Local: new(true),
		Sign: new(u == Sign), Decrypt: new(u == Decrypt), Derive: new(u == Derive),
		SignRecover: new(false), Unwrap: new(false),
	}}
}

func TestCheckAttributesAcceptsOurTemplate(t *testing.T) {
	for _, u := range []Usage{Sign, Decrypt, Derive} {
		if err := CheckAttributes(goodKey(u), u); err != nil {
			t.Error(err)
		}
		for _, other := range []Usage{Sign, Decrypt, Derive} {
			if err := CheckAttributes(goodKey(u), other); other != u && !errors.Is(err, ErrTemplate) {
				t.Errorf("a key to %s passes as one to %s: %v", u, other, err)
			}
		}
	}
}

// Each attribute, wrong and unknown. LOCAL alone may be false.
func TestCheckAttributesLooksAtEach(t *testing.T) {
	mayBeUnknown := map[string]bool{"AlwaysSensitive": true, "NeverExtractable": true, "Modifiable": true, "Local": true,
		"Decrypt": true, "Derive": true, "SignRecover": true, "Unwrap": true}
	fields := reflect.TypeFor[wire.PrivateAttributes]()
	for i := range fields.NumField() {
		field := fields.Field(i).Name
		attribute := "CKA_" + strings.ToUpper(strings.Join(words(field), "_"))

		o := goodKey(Sign)
		v := reflect.ValueOf(&o.Attributes).Elem().Field(i)
		v.Set(reflect.ValueOf(new(!*v.Interface().(*bool))))
		err := CheckAttributes(o, Sign)
		if field == "Local" {
			if err != nil {
				t.Errorf("NSS's LOCAL=false: %v", err)
			}
		} else if !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), attribute) {
			t.Errorf("%s is wrong and the error is %v", attribute, err)
		}

		o = goodKey(Sign)
		reflect.ValueOf(&o.Attributes).Elem().Field(i).SetZero()
		if err := CheckAttributes(o, Sign); (err == nil) != mayBeUnknown[field] {
			t.Errorf("%s is unknown and the error is %v", attribute, err)
		}
	}
}

func TestCheckAttributesRefusesWhatWasImported(t *testing.T) {
	for _, c := range []func(*wire.PrivateAttributes){
		func(a *wire.PrivateAttributes) { a.AlwaysSensitive = nil },
		func(a *wire.PrivateAttributes) { a.NeverExtractable = nil },
	} {
		o := goodKey(Sign)
		o.Attributes.Local = new(false)
		c(&o.Attributes)
		if err := CheckAttributes(o, Sign); !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), "CKA_LOCAL") {
			t.Errorf("%v, want CKA_LOCAL to be named", err)
		}
	}
	if err := CheckAttributes(Object{Public: true}, Sign); !errors.Is(err, ErrTemplate) {
		t.Errorf("a public key alone: %v", err)
	}
}

// TestCheckAttributesNamesAll: who mends one after the other asks once only.
func TestCheckAttributesNamesAll(t *testing.T) {
	o := goodKey(Sign)
	o.Attributes.Sensitive, o.Attributes.Extractable, o.Attributes.NeverExtractable, o.Attributes.Local = new(false), nil, new(false), new(false)
	err := CheckAttributes(o, Sign)
	for _, want := range []string{"CKA_SENSITIVE is false and must be true", "the token does not tell CKA_EXTRACTABLE", "CKA_NEVER_EXTRACTABLE is false", "CKA_LOCAL"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "CKA_TOKEN") {
		t.Errorf("%v names what is right", err)
	}
}

func words(s string) (w []string) {
	for i, r := range s {
		if i == 0 || r >= 'A' && r <= 'Z' {
			w = append(w, "")
		}
		w[len(w)-1] += string(r)
	}
	return w
}
