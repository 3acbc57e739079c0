package rotation

import (
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
)

// Keys of the administrator's.
var (
	rsaA = Key{Spec: keyspec.RSA2048, Token: "hsm", ID: []byte("A"), Label: "a", KID: "A"}
	rsaB = Key{Spec: keyspec.RSA4096, Token: "hsm", ID: []byte("B"), Label: "b", KID: "B"}
	ecX  = Key{Spec: keyspec.P256, Token: "hsm", ID: []byte("X"), Label: "x", KID: "X"}
	ecY  = Key{Spec: keyspec.P256, Token: "hsm", ID: []byte("Y"), Label: "y", KID: "Y"}
)

func of(keys ...Key) func(*Generation) { return func(g *Generation) { g.Keys, g.Static = keys, true } }

func byLabel(k Key) *StaticRef { return &StaticRef{Label: k.Label} }

// staticPolicy names an RSA and a P-256 key as active.
func staticPolicy(rsa, ec Key, previous ...Key) Policy {
	p := testPolicy()
	p.Specs, p.Period = nil, 0
	p.Static = []StaticKey{{Type: RSA, Active: byLabel(rsa)}, {Type: "p-256", Active: byLabel(ec)}}
	for _, k := range previous {
		for i := range p.Static {
			if p.Static[i].Type == TypeOf(k.Spec) {
				p.Static[i].Previous = byLabel(k)
			}
		}
	}
	return p
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		ref  *StaticRef
		want bool
	}{
		{nil, false},
		{&StaticRef{Label: "a"}, true},
		{&StaticRef{ID: []byte("A")}, true},
		{&StaticRef{ID: []byte("A"), Label: "a", KID: "A"}, true},
		{&StaticRef{ID: []byte("B"), Label: "a"}, false},
		{&StaticRef{ID: []byte("A"), Label: "b"}, false},
		{&StaticRef{Label: "a", KID: "mine"}, false},
	} {
		if got := tt.ref.names(rsaA); got != tt.want {
			t.Errorf("%+v names A: %v", tt.ref, got)
		}
	}
}

func TestFits(t *testing.T) {
	specs := func(specs ...keyspec.Spec) Policy {
		p := testPolicy()
		p.Specs = specs
		return p
	}
	keys := func(keys ...Key) func(*Generation) { return func(g *Generation) { g.Keys = keys } }
	revoked := func(g *Generation) { g.Keys, g.Revoked = g.Keys[:1], []string{"X"} }
	elsewhere := func(g *Generation) { g.Keys[0].Token = "other" }
	for _, tt := range []struct {
		name   string
		g      Generation
		policy Policy
		want   bool
	}{
		{"dynamic", gen(1, Active), testPolicy(), true},
		{"in another order", gen(1, Active, keys(rsaA, ecX)), specs(keyspec.P256, keyspec.RSA2048), true},
		{"a spec more is wanted", gen(1, Active), specs(keyspec.P256, keyspec.RSA2048), false},
		{"one less", gen(1, Active, keys(rsaA, ecX)), specs(keyspec.P256), false},
		{"another one", gen(1, Active, keys(rsaA)), specs(keyspec.RSA4096), false},
		{"the same one twice", gen(1, Active, keys(ecX, ecY)), specs(keyspec.P256), false},
		{"twice and wanted so", gen(1, Active, keys(ecX, ecY)), specs(keyspec.P256, keyspec.P256), true},
		{"a key is lost", gen(1, Active, lost), testPolicy(), true},
		{"a key was revoked", gen(1, Active, keys(rsaA, ecX), revoked), specs(keyspec.P256, keyspec.RSA2048), false},
		{"and no more is wanted than is left", gen(1, Active, keys(rsaA, ecX), revoked), specs(keyspec.RSA2048), false},
		{"a dynamic one made on another token", gen(1, Active, elsewhere), testPolicy(), true},
		{"static and dynamic is wanted", gen(1, Active, of(ecX)), testPolicy(), false},
		{"dynamic and static is wanted", gen(1, Active), staticPolicy(rsaA, ecX), false},
		{"static", gen(1, Active, of(rsaA, ecX)), staticPolicy(rsaA, ecX), true},
		{"of another size, but a type has one key", gen(1, Active, of(rsaB, ecX)), staticPolicy(rsaB, ecX), true},
		{"another static key", gen(1, Active, of(rsaA, ecX)), staticPolicy(rsaB, ecX), false},
		{"a type more", gen(1, Active, of(ecX)), staticPolicy(rsaA, ecX), false},
		{"a static key was revoked", gen(1, Active, of(rsaA, ecX), revoked), staticPolicy(rsaA, ecX), false},
		{"and no more static ones are wanted than are left", gen(1, Active, of(rsaA, ecX), revoked), Policy{Token: "hsm", Static: staticPolicy(rsaA, ecX).Static[:1]}, false},
		{"static keys on a token that has another name now", gen(1, Active, of(rsaA, ecX), elsewhere), staticPolicy(rsaA, ecX), false},
	} {
		if got := tt.g.fits(tt.policy); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestPinned(t *testing.T) {
	g := gen(1, Retired, of(rsaA, ecX))
	for _, tt := range []struct {
		name   string
		policy Policy
		want   bool
	}{
		{"not named", staticPolicy(rsaB, ecY), false},
		{"one of its keys is previous", staticPolicy(rsaB, ecX, rsaA), true},
		{"one of its keys is active", staticPolicy(rsaB, ecX), false},
		{"dynamic", testPolicy(), false},
	} {
		if got := g.pinned(tt.policy); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestAdoption(t *testing.T) {
	revoked := func(d Document) Document {
		d.Revoked = []Revocation{{KID: "B", ID: []byte("B"), Label: "b", At: t0}}
		return d
	}
	for _, tt := range []struct {
		name   string
		doc    Document
		policy Policy
		want   State
	}{
		{"dynamic", document(gen(1, Active)), testPolicy(), ""},
		{"the first ones", document(), staticPolicy(rsaA, ecX), Pending},
		{"those that are to sign before those that did", document(), staticPolicy(rsaA, ecX, rsaB), Pending},
		{"and then these", document(gen(1, Pending, of(rsaA, ecX))), staticPolicy(rsaA, ecX, rsaB), Retired},
		{"all are there", document(gen(1, Active, of(rsaA, ecX)), gen(2, Retired, of(rsaB))), staticPolicy(rsaA, ecX, rsaB), ""},
		{"what is previous was active", document(gen(1, Active, of(rsaA, ecX))), staticPolicy(rsaB, ecX, rsaA), Pending},
		{"and is there", document(gen(1, Active, of(rsaA, ecX)), gen(2, Pending, of(rsaB, ecX))), staticPolicy(rsaB, ecX, rsaA), ""},
		{"active once more: it is new again, although the page has it", document(gen(1, Retired, of(rsaA, ecX)), gen(2, Active, of(rsaB, ecX))), staticPolicy(rsaA, ecX), Pending},
		{"what was revoked is not previous", revoked(document(gen(1, Active, of(rsaA, ecX)))), staticPolicy(rsaA, ecX, rsaB), ""},
		{"from dynamic", document(gen(1, Active), gen(2, Pending)), staticPolicy(rsaA, ecX), Pending},
	} {
		if got, why := tt.doc.adoption(tt.policy); got != tt.want || (why == "") != (got == "") {
			t.Errorf("%s: %q (%s), want %q", tt.name, got, why, tt.want)
		}
	}
	policy := staticPolicy(rsaA, ecX, rsaB)
	policy.MaxTokenLifetime = 48 * time.Hour
	doc, _ := document().adopted(Pending, []Key{rsaA, ecX}, policy, t0)
	doc, events := doc.adopted(Retired, []Key{rsaB}, policy, at("1s"))
	if g := doc.Generations[0]; g.Number != 1 || !g.Static || g.State != Pending || g.Lifetime != policy.guaranteed() || !g.Made.Equal(t0) {
		t.Errorf("adopted: %+v", g)
	}
	if g := doc.Generations[1]; g.Number != 2 || g.State != Retired || g.Lifetime != 48*time.Hour || len(events) != 1 || events[0].What != "adopted" || doc.Last != 2 {
		t.Errorf("adopted: %+v, %+v", g, events)
	}
	if err := doc.Validate(); err != nil {
		t.Error(err)
	}
}
