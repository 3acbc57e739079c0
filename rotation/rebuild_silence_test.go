package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// TestRebuildSilence: where nothing surely is known to verifiers nothing signs before they know it, unless
// the operator accepts that, and the report says until when.
func TestRebuildSilence(t *testing.T) {
	dynamic := Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}, MaxAge: 5 * time.Minute, ClockSkew: 30 * time.Second, VerifierCache: time.Minute}
	static := dynamic
	static.Specs, static.Static = nil, []StaticKey{{Type: "p-256", Active: &StaticRef{Label: "mine"}, Previous: &StaticRef{Label: "old"}}}
	const reach = 6*time.Minute + 30*time.Second
	for name, c := range map[string]struct {
		policy  Policy
		numbers []int
	}{
		"the only generation": {dynamic, []int{3}},
		"no generation":       {dynamic, nil},
		"a static keyset":     {static, nil},
	} {
		for _, accept := range []bool{false, true} {
			l := newLot(c.policy)
			l.AcceptUnpublished = accept
			for _, n := range c.numbers {
				l.add(t, "default", n, keyspec.P256)
			}
			k := l.keyset(t, "default")
			until := rebuiltAt.Add(reach)
			if !k.StaleUntil.Equal(until) || k.AcceptUnpublished != accept || strings.Contains(k.Silence, "NOTHING SIGNS") == accept || !strings.Contains(k.Silence, until.Format(time.RFC3339)) {
				t.Errorf("%s, accepted %t: stale until %v, %q", name, accept, k.StaleUntil, k.Silence)
			}
			// From here on the code of every day.
			policy := l.Policies["default"]
			doc, started := k.Document, rebuiltAt.Add(time.Minute)
			if len(doc.Generations) == 0 {
				key := Key{Spec: keyspec.P256, Token: "hsm", ID: []byte("mine"), Label: "mine", KID: "mine"}
				if policy.static() {
					doc, _ = doc.adopted(Pending, []Key{key}, policy, started)
				} else {
					doc, _ = doc.begin(nil, started).made(doc.Last+1, []Key{key}, policy, started)
				}
			}
			doc, _ = doc.settle(policy, nil, started)
			a, ok := doc.activation(policy)
			want := started.Add(reach)
			if accept {
				want = started
			}
			if _, signs := doc.Active(); !ok || signs || !a.at.Equal(want) {
				t.Errorf("%s, accepted %t: the first signature is due at %v, want %v", name, accept, a.at, want)
			}
		}
	}
}

// TestRebuildStatic: the administrator's keys are told as what they are.
func TestRebuildStatic(t *testing.T) {
	l := newLot(Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}})
	l.add(t, "default", 1, keyspec.P256)
	l.Policies["theirs"] = Policy{Usage: hsm.Sign, Token: "hsm", Static: []StaticKey{
		{Type: "p-256", Active: &StaticRef{Label: "mine", KID: "own"}, Previous: &StaticRef{ID: []byte("id-3")}},
		{Type: "p-384", Active: &StaticRef{Label: "revoked"}}}}.WithDefaults()
	labelled := func(label string) func(*Found) { return func(o *Found) { o.Label = label } }
	l.add(t, "", 1, keyspec.P256, labelled("mine"))
	l.add(t, "", 1, keyspec.P256, labelled("old"))
	l.add(t, "", 1, keyspec.P384, labelled("revoked"))
	l.add(t, "", 1, keyspec.P256, labelled("stranger's"))
	l.add(t, "", 1, keyspec.P256, labelled("mine"), publicAlone)
	l.Revoked["theirs"] = []Revocation{{KID: "r", Generation: 4, At: rebuiltAt.Add(-1), Why: "leaked", Public: l.Objects["hsm"][3].PublicKey}}
	out := l.rebuild(t)
	for _, o := range out.Left {
		want := map[string]string{
			"mine": "named by static keyset theirs: left alone, taken over at the start", "old": "named by static keyset theirs",
			"revoked": "was revoked", "stranger's": "none of keysetd's"}[o.Label]
		if string(o.ID) == "id-6" { // a public key anybody can lay
			want = "none of keysetd's"
		}
		if want == "" || !strings.Contains(o.Why, want) {
			t.Errorf("%q is left alone since %s, want %s", o.Label, o.Why, want)
		}
	}
	i := slices.IndexFunc(out.Keysets, func(k RebuiltKeyset) bool { return k.Keyset == "theirs" })
	if i < 0 || len(out.Left) != 5 {
		t.Fatalf("%+v", out)
	}
	k := out.Keysets[i]
	if len(k.Generations) != 0 || k.Last != 4 || !k.Revoked[0].Kept || !strings.Contains(strings.Join(k.Notes, " "), "taken over at the start") {
		t.Errorf("%+v", k)
	}
}
