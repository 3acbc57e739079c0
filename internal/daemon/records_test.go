package daemon

import (
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
)

// hour is an instant, so many hours after some midnight.
func hour(h int) time.Time { return time.Date(2031, 1, 1, h, 0, 0, 0, time.UTC) }

// used is a generation that was in use from one hour until another. Zero: it never was, or still is.
func used(s *stage, number int, state rotation.State, from, until int, keys ...string) rotation.Generation {
	g := s.generation(number, state, keys...)
	g.Activated, g.Retired = time.Time{}, time.Time{}
	if from != 0 {
		g.Activated = hour(from)
	}
	if until != 0 {
		g.Retired = hour(until)
	}
	return g
}

func TestRecords(t *testing.T) {
	const p, a, r = rotation.Pending, rotation.Active, rotation.Retired
	s := newStage(t, signingKeyset)
	clock := func(at time.Time) string {
		if at.IsZero() {
			return "-"
		}
		return fmt.Sprint(at.Hour())
	}
	for name, c := range map[string]struct {
		doc  rotation.Document
		want []string // KID GENERATION STATE SINCE UNTIL REVOKED
	}{
		"none": {},
		"a pipe": {
			rotation.Document{Generations: []rotation.Generation{used(s, 1, r, 1, 5, "one:p-256"), used(s, 2, a, 5, 0, "two:p-256", "rsa:rsa-2048"), used(s, 3, p, 0, 0, "three:p-256")}},
			[]string{"two 2 active 5 - -", "rsa 2 active 5 - -", "three 3 pending - - -", "one 1 retired 1 5 -"},
		},
		"the swap is under way": {
			rotation.Document{Generations: []rotation.Generation{used(s, 1, r, 1, 0, "one:p-256"), used(s, 2, a, 5, 0, "two:p-256")}},
			[]string{"two 2 active 5 - -", "one 1 retired 1 5 -"},
		},
		"one was never in use": {
			rotation.Document{Generations: []rotation.Generation{used(s, 1, a, 1, 0, "one:p-256"), used(s, 2, r, 0, 3, "dismissed:p-256")}},
			[]string{"one 1 active 1 - -", "dismissed 2 retired - - -"},
		},
		"a static key stays in use": {
			rotation.Document{Generations: []rotation.Generation{used(s, 1, r, 1, 5, "mine:rsa-2048", "old:p-256"), used(s, 2, r, 0, 5, "x:p-256"), used(s, 3, a, 5, 0, "mine:rsa-2048", "new:p-256"), used(s, 4, p, 0, 0, "mine:rsa-2048")}},
			[]string{"mine 3 active 1 - -", "new 3 active 5 - -", "old 1 retired 1 5 -", "x 2 retired - - -"},
		},
		"a static key comes back": {
			rotation.Document{Generations: []rotation.Generation{used(s, 1, r, 1, 5, "mine:p-256"), used(s, 2, r, 5, 7, "other:p-256"), used(s, 3, a, 7, 0, "mine:p-256")}},
			[]string{"mine 3 active 7 - -", "other 2 retired 5 7 -"},
		},
		"a static key is to come back": {
			rotation.Document{Generations: []rotation.Generation{used(s, 1, r, 1, 5, "mine:p-256"), used(s, 2, a, 5, 0, "other:p-256"), used(s, 3, p, 0, 0, "mine:p-256")}},
			[]string{"other 2 active 5 - -", "mine 3 pending 1 5 -"},
		},
		"revoked": {
			rotation.Document{
				Generations: []rotation.Generation{used(s, 3, a, 1, 0, "one:p-256")},
				Revoked:     []rotation.Revocation{{KID: "first", Spec: keyspec.P256, Generation: 1, At: hour(2)}, {KID: "second", Spec: keyspec.P256, Generation: 2, At: hour(3)}},
			},
			[]string{"one 3 active 1 - -", "second 2  - - 3", "first 1  - - 2"},
		},
	} {
		var got []string
		for _, r := range records(c.doc) {
			if r.Spec == "" {
				t.Errorf("%s: %s has no spec", name, r.KID)
			}
			got = append(got, fmt.Sprint(r.KID, " ", r.Generation, " ", r.State, " ", clock(r.CurrentSince), " ", clock(r.CurrentUntil), " ", clock(r.RevokedAt)))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestRecordsAreListed: whoever may read is told of them, also where the keyset is for encryption, or is no
// longer in the file.
func TestRecordsAreListed(t *testing.T) {
	for name, keysets := range map[string]string{"signs": signingKeyset, "encrypts": encKeyset, "vanished": another} {
		s := newStage(t, keysets)
		enc := ""
		if name == "encrypts" {
			enc = "enc "
		}
		d := rotation.Document{
			Last: 3, StaleUntil: hour(0), Generations: []rotation.Generation{s.generation(2, rotation.Active, enc+"two:rsa-2048"), s.generation(3, rotation.Pending, enc+"three:rsa-2048")},
			Revoked: []rotation.Revocation{{KID: "one", Spec: keyspec.RSA2048, Generation: 1, At: hour(1)}},
		}
		chain, err := x5c.SelfSigned(x5c.Request{
			Subject: x5c.Subject{Organization: "Example", Country: "CH"}, CommonName: "two", NotBefore: hour(0), NotAfter: hour(0).AddDate(1, 0, 0),
		}, s.world.Keys[keyspec.RSA2048].Private())
		if err != nil {
			t.Fatal(err)
		}
		d.Generations[0].Keys[0].Chain = chain
		if err := s.publish(snapshot(s.view(d))); err != nil {
			t.Fatal(err)
		}
		list, err := s.service.Keys(t.Context(), operator, "ks")
		if err != nil || len(list.Keys) != 3 {
			t.Fatalf("%s: %+v, %v", name, list, err)
		}
		pick := func(is func(v1.ListedKey) bool) (kids []string) {
			for _, k := range list.Keys {
				if is(k) {
					kids = append(kids, k.KID)
				}
			}
			return kids
		}
		got := fmt.Sprint(pick(func(k v1.ListedKey) bool { return k.Current }), pick(func(k v1.ListedKey) bool { return k.Next }), pick(func(k v1.ListedKey) bool { return k.Revoked }))
		if got != "[two] [three] [one]" {
			t.Errorf("%s: current, next and revoked are %s", name, got)
		}
		if certified := pick(func(k v1.ListedKey) bool { return k.Cert != "" && k.Fingerprint == jwks.Fingerprint(chain[0]) }); !slices.Equal(certified, []string{"two"}) {
			t.Errorf("%s: %q have the certificate", name, certified)
		}
	}
}
