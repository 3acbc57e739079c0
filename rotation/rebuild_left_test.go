package rotation

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

func TestRebuildTimes(t *testing.T) {
	l := newLot(Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}, Period: 10 * time.Hour, Lead: time.Hour, MaxTokenLifetime: 30 * time.Hour, Algorithms: []jose.SignatureAlgorithm{jose.RS384}})
	for n := range 3 {
		l.add(t, "default", n+5, keyspec.P256)
	}
	k := l.keyset(t, "default")
	policy := l.Policies["default"]
	if k.Served != policy.freshness() || !reflect.DeepEqual(k.Entries, []Entry{{Algorithm: jose.RS384, State: Pending}}) || k.Last != 7 {
		t.Errorf("%+v", k.Document)
	}
	// From here on the code of every day.
	later := rebuiltAt.Add(time.Minute)
	doc, _ := k.settle(policy, nil, later)
	if g := doc.Generations[0]; !g.RetainUntil.Equal(later.Add(30*time.Hour + policy.ClockSkew)) {
		t.Errorf("a token may live until %v, its key is published until %v", later.Add(30*time.Hour), g.RetainUntil)
	}
	g := doc.Generations[2]
	if usable := later.Add(policy.freshness().Reach()); !g.Published.Equal(later) || !g.UsableFrom.Equal(usable) {
		t.Errorf("published %v, usable from %v, want %v", g.Published, g.UsableFrom, usable)
	}
	if a, ok := doc.activation(policy); !ok || a.Number != 7 || !a.at.Equal(later.Add(time.Hour)) {
		t.Errorf("the newest is to sign at %v, want %v after its lead", a.at, later.Add(time.Hour))
	}
	if doc.Entries[0].State != Pending || doc.Entries[0].UsableFrom.Before(g.UsableFrom) {
		t.Errorf("%+v", doc.Entries)
	}
}

func TestRebuildLeavesAlone(t *testing.T) {
	l := newLot(Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}})
	l.add(t, "default", 1, keyspec.P256)
	l.add(t, "default", 2, keyspec.P256)
	why := map[string]string{}
	leave := func(want string, change ...func(*Found)) {
		l.add(t, "default", 2, keyspec.P256, change...)
		objects := l.Objects["hsm"]
		why[string(objects[len(objects)-1].ID)] = want
	}
	labelled := func(label string) func(*Found) { return func(o *Found) { o.Label = label } }
	leave("it is of installation "+stranger, labelled(Label{stranger, "default", 9, keyspec.P256}.String()))
	leave("none of keysetd's", labelled("backup key"))
	leave("none of keysetd's", labelled(""))
	leave("no version of keysetd", labelled("keysetd/"+rebuilding+"/default/x/p-256"))
	leave("no p-384 key", labelled(Label{rebuilding, "default", 2, keyspec.P384}.String()))
	leave("does not tell its public key", func(o *Found) { o.PublicKey = nil })
	leave("cannot be read", func(o *Found) { o.PublicKey = []byte{1} })
	leave("public key alone", publicAlone)
	leave("it signs wrongly", doubtful)
	// Somebody wants the numbers to end.
	leave("public key alone", publicAlone, labelled(Label{rebuilding, "default", 1 << 62, keyspec.P256}.String()))
	out := l.rebuild(t)
	for _, o := range out.Left {
		if !strings.Contains(o.Why, why[string(o.ID)]) || why[string(o.ID)] == "" {
			t.Errorf("%q is left alone since %s, want %s", o.Label, o.Why, why[string(o.ID)])
		}
	}
	if k := out.Keysets[0]; len(out.Left) != len(why) || pipe(k.Document) != "1 active, 2 pending" || k.Last != 2 {
		t.Errorf("%d left alone, %s, last %d", len(out.Left), pipe(k.Document), k.Last)
	}
}

// TestRebuildRevoked: by its kid or by its public key, and that it is left on the token is put down.
func TestRebuildRevoked(t *testing.T) {
	l := newLot(Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}})
	l.add(t, "default", 1, keyspec.P256)
	first := l.add(t, "default", 2, keyspec.P256)
	l.add(t, "default", 3, keyspec.P256)
	l.Revoked["default"] = []Revocation{
		{KID: first, Generation: 2, At: rebuiltAt.Add(-3), Why: "leaked"},
		{KID: "own kid of that time", Generation: 3, At: rebuiltAt.Add(-2), Why: "lent", Public: l.Objects["hsm"][2].PublicKey},
		{KID: "gone", Generation: 9, At: rebuiltAt.Add(-1)},
	}
	out := l.rebuild(t)
	k := out.Keysets[0]
	if len(out.Left) != 2 || !strings.Contains(out.Left[0].Why, "leaked") || !strings.Contains(out.Left[1].Why, "lent") {
		t.Errorf("left alone: %+v", out.Left)
	}
	if r := k.Revoked; !r[0].Kept || !r[1].Kept || r[2].Kept || k.Last != 9 || pipe(k.Document) != "1 active" {
		t.Errorf("%s, last %d, revoked %+v", pipe(k.Document), k.Last, k.Revoked)
	}
	if l.Revoked["default"][0].Kept {
		t.Error("Rebuild changed what it was given")
	}
}

// TestRebuildPublicAlone: a public key that stands alone is published if the operator knows it; it counts
// for the numbers also if not.
func TestRebuildPublicAlone(t *testing.T) {
	l := newLot(Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}})
	l.add(t, "default", 1, keyspec.P256)
	kid := l.add(t, "default", 2, keyspec.P256, publicAlone)
	if k := l.keyset(t, "default"); k.Last != 2 || k.hasKID(kid) || pipe(k.Document) != "1 active" {
		t.Errorf("%s, last %d", pipe(k.Document), k.Last)
	}
	l.Unproven = true
	if k := l.keyset(t, "default"); pipe(k.Document) != "1 active, 2 retired" || k.Generations[1].Keys[0].Lost.IsZero() {
		t.Errorf("%+v", k.Document)
	}
}

// TestRebuildCopies: a token and its copy are both configured.
func TestRebuildCopies(t *testing.T) {
	l := newLot(Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}})
	l.add(t, "default", 1, keyspec.P256)
	l.add(t, "default", 2, keyspec.P256)
	l.Objects["a copy"] = slices.Clone(l.Objects["hsm"])
	out := l.rebuild(t)
	if len(out.Left) != 2 || out.Left[0].Token != "a copy" || pipe(out.Keysets[0].Document) != "1 active, 2 pending" {
		t.Errorf("%+v", out)
	}
	for i := range l.Objects["hsm"] {
		doubtful(&l.Objects["hsm"][i])
	}
	l.Unproven = true
	if out := l.rebuild(t); out.Keysets[0].Generations[0].Keys[0].Token != "a copy" {
		t.Errorf("the copy in doubt was preferred: %+v", out)
	}
}

func TestRebuildKeysets(t *testing.T) {
	l := newLot(Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}})
	l.Policies["static"] = Policy{Usage: hsm.Sign, Token: "hsm", Static: []StaticKey{{Type: "p-256", Active: &StaticRef{Label: "theirs"}}}}.WithDefaults()
	l.Policies["enc"] = Policy{Usage: hsm.Decrypt, Token: "hsm", Specs: []keyspec.Spec{keyspec.P256}, MaxMessageAge: time.Hour}.WithDefaults()
	l.Revoked["forgotten"] = []Revocation{{KID: "late", Generation: 8, At: rebuiltAt}, {KID: "early", Generation: 9, At: rebuiltAt.Add(-1)}}
	l.add(t, "old", 4, keyspec.P256)
	l.add(t, "old", 5, keyspec.P256)
	l.add(t, "static", 0, keyspec.P256, func(o *Found) { o.Label = "theirs" })
	l.add(t, "planted", 3, keyspec.P256, publicAlone)
	l.add(t, "enc", 3, keyspec.P256, func(o *Found) { o.Attributes.Sign, o.Attributes.Derive = new(false), new(true) })
	got := map[string]string{}
	for _, k := range l.rebuild(t).Keysets {
		got[k.Keyset] = pipe(k.Document)
		switch k.Keyset {
		case "old":
			if k.Configured || !strings.Contains(strings.Join(k.Notes, ""), "not in the configuration") || k.Generations[0].Lifetime != 0 {
				t.Errorf("%+v", k)
			}
		case "enc":
			if key := k.Generations[0].Keys[0]; key.Usage != hsm.Derive {
				t.Errorf("%+v", key)
			}
		case "forgotten":
			if k.Last != 9 || k.Revoked[0].KID != "early" {
				t.Errorf("%+v", k)
			}
		case "default":
			if k.StaleUntil.IsZero() {
				t.Error("the next generation of a keyset that may have had keys would sign at once")
			}
		}
	}
	if want := map[string]string{"default": "", "enc": "3 active", "forgotten": "", "old": "4 active, 5 pending", "static": ""}; !reflect.DeepEqual(got, want) {
		t.Errorf("rebuilt %v, want %v", got, want)
	}
}
