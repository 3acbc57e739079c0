package rotation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

const (
	rebuilding = "0123456789abcdef0123456789abcdef"
	stranger   = "fedcba9876543210fedcba9876543210"
)

var rebuiltAt = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func kidOf(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	return fmt.Sprintf("%x", sha256.Sum256(der))[:8], err
}

// lot is what is on the tokens.
type lot struct {
	RebuildRequest
	ids int
}

func newLot(policy Policy) *lot {
	policy.Token = "hsm"
	return &lot{RebuildRequest: RebuildRequest{
		Installation: rebuilding, KeyID: kidOf, Now: rebuiltAt,
		Objects:  map[string][]Found{"hsm": nil},
		Policies: map[string]Policy{"default": policy.WithDefaults()},
		Revoked:  map[string][]Revocation{},
	}}
}

// fail is what testing and rapid have in common.
type fail interface {
	Helper()
	Fatalf(string, ...any)
}

func publicKey(t fail, spec keyspec.Spec) []byte {
	t.Helper()
	var pub crypto.PublicKey
	var err error
	if spec == keyspec.Ed25519 {
		pub, _, err = ed25519.GenerateKey(rand.Reader)
	} else {
		var key *ecdsa.PrivateKey
		key, err = ecdsa.GenerateKey(map[keyspec.Spec]elliptic.Curve{keyspec.P256: elliptic.P256(), keyspec.P384: elliptic.P384()}[spec], rand.Reader)
		if err == nil {
			pub = key.Public()
		}
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return der
}

// add puts a key on the first token, and returns its kid.
func (l *lot) add(t fail, keyset string, generation int, spec keyspec.Spec, change ...func(*Found)) (kid string) {
	t.Helper()
	l.ids++
	o := Found{Object: hsm.Object{
		ID: fmt.Appendf(nil, "id-%d", l.ids), Private: true, Public: true, PublicKey: publicKey(t, spec),
		Label:      Label{l.Installation, keyset, generation, spec}.String(),
		Attributes: hsm.Object{}.Attributes,
	}}
	o.Attributes.Sign = new(true)
	for _, f := range change {
		f(&o)
	}
	l.Objects["hsm"] = append(l.Objects["hsm"], o)
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return ""
	}
	kid, _ = kidOf(pub)
	return kid
}

func publicAlone(o *Found) { o.Private, o.Attributes = false, hsm.Object{}.Attributes }
func doubtful(o *Found)    { o.Doubt = errors.New("it signs wrongly") }

// keyset rebuilds, checks what holds whatever was found, and returns one keyset.
func (l *lot) keyset(t fail, name string) RebuiltKeyset {
	t.Helper()
	out := l.rebuild(t)
	i := slices.IndexFunc(out.Keysets, func(k RebuiltKeyset) bool { return k.Keyset == name })
	if i < 0 {
		t.Fatalf("keyset %s was not rebuilt: %+v", name, out)
	}
	return out.Keysets[i]
}

func (l *lot) rebuild(t fail) Rebuilt {
	t.Helper()
	out := Rebuild(l.RebuildRequest)
	seen := map[string]int{} // by token and CKA_ID
	for _, k := range out.Keysets {
		if err := k.Validate(); err != nil {
			t.Fatalf("keyset %s: %v: %+v", k.Keyset, err, k)
		}
		if k.StaleUntil.Sub(l.Now) != k.Served.Reach() || k.Served.MaxAge <= 0 {
			t.Fatalf("keyset %s: pages before count until %v, with %+v", k.Keyset, k.StaleUntil, k.Served)
		}
		if k.Event.What == "" || !k.Event.At.Equal(l.Now) || k.newest().After(l.Now) {
			t.Fatalf("keyset %s: event %+v, newest %v", k.Keyset, k.Event, k.newest())
		}
		for _, g := range k.Generations {
			if (g.State == Pending) != g.Published.IsZero() || (g.State == Active) == g.Activated.IsZero() || (g.State == Retired) == g.Retired.IsZero() || !g.RetainUntil.IsZero() || g.Made.IsZero() {
				t.Fatalf("keyset %s: %+v", k.Keyset, g)
			}
			for _, key := range g.Keys {
				seen[key.Token+string(key.ID)]++
				for _, all := range l.Revoked {
					if slices.ContainsFunc(all, func(r Revocation) bool { return r.KID == key.KID }) {
						t.Fatalf("keyset %s: generation %d has the revoked key %s", k.Keyset, g.Number, key.KID)
					}
				}
			}
		}
		for _, r := range l.Revoked[k.Keyset] {
			if _, ok := k.revocation(r.KID); !ok {
				t.Fatalf("keyset %s: %s is no longer revoked", k.Keyset, r.KID)
			}
		}
	}
	for _, o := range out.Left {
		if seen[o.Token+string(o.ID)]++; o.Why == "" {
			t.Fatalf("%q is left alone for no reason", o.Label)
		}
	}
	count := 0
	for token, objects := range l.Objects {
		for _, o := range objects {
			if count++; seen[token+string(o.ID)] != 1 {
				t.Fatalf("%q on token %s is accounted for %d times: %+v", o.Label, token, seen[token+string(o.ID)], out)
			}
		}
	}
	if count != len(seen) {
		t.Fatalf("%d objects became %d", count, len(seen))
	}
	return out
}

// pipe writes the states of a document, as in "1 retired, 2 active, 3 pending".
func pipe(d Document) string {
	var parts []string
	for _, g := range d.Generations {
		parts = append(parts, fmt.Sprintf("%d %s", g.Number, g.State))
	}
	return strings.Join(parts, ", ")
}

func TestRebuildRoles(t *testing.T) {
	one := Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256}}
	two := Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256, keyspec.Ed25519}}
	encrypting := Policy{Usage: hsm.Decrypt, Specs: []keyspec.Spec{keyspec.P256, keyspec.P384}, MaxMessageAge: time.Hour}
	three := Policy{Usage: hsm.Sign, Specs: []keyspec.Spec{keyspec.P256, keyspec.Ed25519, keyspec.P384}}
	for _, c := range []struct {
		name   string
		policy Policy
		// found: for each generation the keys it has: p (P-256), e (Ed25519), q (P-384); in capitals the
		// public half alone; then ? a doubt, r revoked.
		found    string
		unproven bool
		want     string
		note     string
	}{
		{"the usual", two, "3:pe 4:pe 5:pe", false, "3 retired, 4 active, 5 pending", ""},
		{"after init", two, "1:pe 2:pe", false, "1 active, 2 pending", ""},
		{"one only", two, "1:pe", false, "1 active", ""},
		{"one and a later attempt", two, "1:pe 2:p", false, "1 active, 2 retired", "generation 2 has no ed25519 key"},
		{"one and a later attempt of which only a public key is left", two, "1:pe 2:P", false, "1 active", ""},
		{"two and a later attempt", two, "1:pe 2:pe 3:e", false, "1 active, 2 pending, 3 retired", "generation 3 has no p-256 key"},
		{"one and an older half", two, "6:p 7:pe", false, "6 retired, 7 pending", "nothing signs until verifiers surely know generation 7"},
		{"one that is not the first", two, "4:pe", false, "4 pending", "nothing signs until verifiers surely know generation 4"},
		{"one after all were revoked", two, "1:prer 2:prer 3:pe", false, "3 pending", "it may not have been published for long"},
		{"one between two halves", two, "6:p 7:pe 8:p", false, "6 retired, 7 pending, 8 retired", "nothing signs until"},
		{"older keys of another kind", two, "4:p 5:pe 6:pe", false, "4 retired, 5 active, 6 pending", "generation 4 has no ed25519 key"},
		{"a key spec is new", three, "4:pe 5:pe 6:p", false, "4 active, 5 pending, 6 retired", ""},
		{"a key spec was dropped", two, "4:peq 5:peq 6:pe", false, "4 retired, 5 active, 6 pending", ""},
		{"two keys for one spec", two, "4:pe 5:pe 6:ppe", false, "4 active, 5 pending, 6 retired", "generation 6 has 2 p-256 keys"},
		{"a revoked key", two, "4:pe 5:pe 6:per", false, "4 active, 5 pending, 6 retired", "generation 6 has no ed25519 key, and had keys that were revoked"},
		{"a revoked generation", two, "4:pe 5:prer 6:pe", false, "4 active, 6 pending", ""},
		{"a revoked key of a kind no longer wanted", one, "4:p 5:p 6:per", false, "4 active, 5 pending, 6 retired", "generation 6 had keys that were revoked"},
		{"different halves", three, "4:p 5:e", false, "4 retired, 5 pending", "nothing signs until"},
		{"all revoked", two, "4:prer", false, "", "no key of it was found"},
		{"a key without private half", two, "4:pe 5:pe 6:pE", false, "4 active, 5 pending, 6 retired", "generation 6 has no ed25519 key"},
		{"the same, known to the operator", two, "4:pe 5:pe 6:pE", true, "4 active, 5 pending, 6 retired", "no private half was seen to sign"},
		{"a private half in doubt", two, "4:pe 5:pe 6:pe?", false, "4 active, 5 pending, 6 retired", ""},
		{"all are halves", two, "4:p 5:p 6:p", false, "4 retired, 5 active, 6 pending", ""},
		{"all have lost a key", two, "4:pE 5:pE 6:pE", true, "4 retired, 5 active, 6 retired", "every generation has lost keys"},
		{"one has lost a key", two, "4:pE", true, "4 retired", "every generation has lost keys"},
		{"the first has lost a key", two, "1:pE", true, "1 active", ""},
		{"nothing can sign", two, "4:PE", true, "4 retired", "no key of it can sign"},
		{"to decrypt", encrypting, "3:pq 4:pq 5:pq", false, "3 retired, 4 retired, 5 active", ""},
		{"to decrypt, and a later attempt", encrypting, "3:pq 4:pq 5:q", false, "3 retired, 4 active, 5 retired", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLot(c.policy)
			l.Unproven = c.unproven
			for _, word := range strings.Fields(c.found) {
				var number int
				var keys string
				if _, err := fmt.Sscanf(word, "%d:%s", &number, &keys); err != nil {
					t.Fatal(err)
				}
				for i, k := range keys {
					spec, ok := map[string]keyspec.Spec{"p": keyspec.P256, "e": keyspec.Ed25519, "q": keyspec.P384}[strings.ToLower(string(k))]
					if !ok {
						continue
					}
					var change []func(*Found)
					mark := (keys + " ")[i+1]
					if k < 'a' {
						change = append(change, publicAlone)
					}
					if mark == '?' {
						change = append(change, doubtful)
					}
					kid := l.add(t, "default", number, spec, change...)
					if mark == 'r' {
						l.Revoked["default"] = append(l.Revoked["default"], Revocation{KID: kid, Generation: number, At: rebuiltAt.Add(-time.Hour)})
					}
				}
			}
			k := l.keyset(t, "default")
			if got := pipe(k.Document); got != c.want {
				t.Errorf("%s gives %s, want %s", c.found, got, c.want)
			}
			if _, signs := k.Active(); !c.policy.Encrypts() && signs != (k.Silence == "") || k.AcceptUnpublished {
				t.Errorf("%s, and it is told %q", pipe(k.Document), k.Silence)
			}
			if notes := strings.Join(k.Notes, "\n"); !strings.Contains(notes, c.note) {
				t.Errorf("notes %q do not say %q", notes, c.note)
			}
		})
	}
}
