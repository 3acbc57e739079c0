package rotation

import (
	"cmp"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// TestRebuildHistories lets a keyset live, effect by effect, loses its store at some instant, and
// holds what is rebuilt against what the store said.
func TestRebuildHistories(t *testing.T) {
	specs := []keyspec.Spec{keyspec.P256, keyspec.Ed25519}
	rapid.Check(t, func(t *rapid.T) {
		l := newLot(Policy{Usage: hsm.Sign, Specs: specs})
		states := map[int]State{} // as the lost store had them; those without were not published yet, or are no more
		live := map[string]bool{} // kids of what the page showed
		last := 0
		remove := func(generation int, spec keyspec.Spec) {
			label := Label{rebuilding, "default", generation, spec}.String()
			l.Objects["hsm"] = slices.DeleteFunc(l.Objects["hsm"], func(o Found) bool { return o.Label == label })
		}
		kids := map[int][]string{}
		effects := rapid.IntRange(3, 40).Draw(t, "effects")
		do := func(f func()) bool { // false: the store is lost before
			if effects--; effects >= 0 {
				f()
			}
			return effects >= 0
		}
		generate := func() bool {
			last++
			number := last
			for _, spec := range specs {
				if !do(func() { kids[number] = append(kids[number], l.add(t, "default", number, spec)) }) {
					return false
				}
			}
			return do(func() {
				states[number] = Pending
				for _, kid := range kids[number] {
					live[kid] = true
				}
			})
		}
		destroy := func(number int) bool {
			delete(states, number)
			for _, kid := range kids[number] {
				delete(live, kid)
			}
			for _, spec := range specs {
				if !do(func() { remove(number, spec) }) {
					return false
				}
			}
			return true
		}
		keep := rapid.IntRange(1, 3).Draw(t, "retired ones kept")
		for alive := generate(); alive; {
			alive = do(func() {
				for n, s := range states {
					if s == Active {
						states[n] = Retired
					}
				}
				states[last] = Active
			})
			alive = alive && generate()
			if n := last - 1 - keep; n > 0 && states[n] == Retired {
				alive = alive && destroy(n)
			}
		}
		for n, s := range states { // an operator revoked a key and left it on the token
			if s == Retired && rapid.IntRange(0, 5).Draw(t, "revoked") == 0 {
				kid := kids[n][0]
				l.Revoked["default"] = append(l.Revoked["default"], Revocation{KID: kid, Generation: n, At: rebuiltAt.Add(-1)})
				delete(live, kid)
				break
			}
		}
		shuffled := rapid.Permutation(l.Objects["hsm"]).Draw(t, "order")
		l.Objects["hsm"] = slices.Clone(shuffled)
		k := l.keyset(t, "default")
		if again := (&lot{RebuildRequest: l.RebuildRequest}).keyset(t, "default"); !reflect.DeepEqual(again, k) {
			t.Fatalf("the same gives %+v and %+v", k, again)
		}
		onToken := 0
		for _, o := range l.Objects["hsm"] {
			label, _ := ParseLabel(o.Label)
			onToken = max(onToken, label.Generation)
		}
		if k.Last < onToken || k.Last > last {
			t.Fatalf("last is %d; %d is on the token and %d was given", k.Last, onToken, last)
		}
		for kid := range live {
			if !k.hasKID(kid) {
				t.Fatalf("key %s was published and is no more: %s, the store had %v", kid, pipe(k.Document), states)
			}
		}
		active, signs := k.Active()
		// That the first of all signs is right also where it did not yet: no page was ever served without it.
		if signs && active.Number > 1 && states[active.Number] != Active && states[active.Number] != Retired {
			t.Fatalf("generation %d signs, which was %s; %s, the store had %v", active.Number, cmp.Or(states[active.Number], "on no page"), pipe(k.Document), states)
		}
		if signs && active.impaired() {
			t.Fatalf("generation %d signs and is impaired: %s", active.Number, pipe(k.Document))
		}
		if _, waits := k.Pending(); !signs && !waits && len(k.Generations) > 0 && len(states) > 0 {
			t.Fatalf("nothing signs and nothing will: %s, the store had %v", pipe(k.Document), states)
		}
	})
}
