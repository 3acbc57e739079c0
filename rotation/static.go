package rotation

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"keysetd.example/internal/keyspec"
)

// KeyType is what a static keyset has one active and perhaps one previous key of: an RSA key
// of any size, or a key on one curve.
type KeyType string

// RSA is the type of RSA keys of every size. Those of other keys are called like their spec.
const RSA KeyType = "rsa"

// KeyTypes returns every type, in the order in which a keyset shows them.
func KeyTypes() []KeyType {
	types := []KeyType{RSA}
	for _, s := range keyspec.All() {
		if !s.RSA() {
			types = append(types, KeyType(s))
		}
	}
	return types
}

// TypeOf returns the type of keys of a spec.
func TypeOf(s keyspec.Spec) KeyType {
	if s.RSA() {
		return RSA
	}
	return KeyType(s)
}

// StaticKey is what the administrator names for one key type.
type StaticKey struct {
	Type KeyType
	// Active signs (or decrypts); Previous did. Nil: there is none.
	Active, Previous *StaticRef
}

// StaticRef names a key that exists on the keyset's token.
type StaticRef struct {
	// ID (CKA_ID) and Label (CKA_LABEL): at least one. With both, both must match.
	ID    []byte
	Label string
	// KID that the administrator wants. Empty: the thumbprint.
	KID string
	// Chain of the key, DER, leaf first. Empty: none.
	Chain [][]byte
}

// names reports whether r is about k.
func (r *StaticRef) names(k Key) bool {
	return r != nil && (len(r.ID) == 0 || string(r.ID) == string(k.ID)) && (r.Label == "" || r.Label == k.Label) && (r.KID == "" || r.KID == k.KID)
}

// fits reports whether g is what policy wants to be active. Keys that a generation has lost
// count as there: that it is impaired is another question. Static keys have to be on the policy's token
// too, or a keyset whose token got another name would wait for the old one for ever. None of its keys may have
// been revoked, which unlike a lost one never comes back.
func (g Generation) fits(policy Policy) bool {
	if g.Static != policy.static() || len(g.Revoked) > 0 {
		return false
	}
	if !g.Static {
		specs := slices.Clone(policy.Specs)
		for _, k := range g.Keys {
			i := slices.Index(specs, k.Spec)
			if i < 0 {
				return false
			}
			specs = slices.Delete(specs, i, i+1)
		}
		return len(specs) == 0
	}
	wanted := 0
	for _, s := range policy.Static {
		if s.Active == nil {
			continue
		}
		wanted++
		if !slices.ContainsFunc(g.Keys, func(k Key) bool { return TypeOf(k.Spec) == s.Type && k.Token == policy.Token && s.Active.names(k) }) {
			return false
		}
	}
	return wanted == len(g.Keys)
}

// rechained returns the chain that the configuration names for a static key, if it is
// another one than k has. It is nothing new to verifiers, who know the key by its kid.
func (k Key) rechained(policy Policy) ([][]byte, bool) {
	for _, s := range policy.Static {
		for _, ref := range []*StaticRef{s.Active, s.Previous} {
			if ref.names(k) && k.Token == policy.Token && !sameChain(ref.Chain, k.Chain) && k.leads(ref.Chain) == nil {
				return ref.Chain, true
			}
		}
	}
	return nil, false
}

// leads tells why chain is not k's, or nil.
func (k Key) leads(chain [][]byte) error {
	if len(chain) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("the first certificate of its chain: %w", err)
	}
	if public, err := x509.MarshalPKIXPublicKey(leaf.PublicKey); err != nil || string(public) != string(k.Public) {
		return fmt.Errorf("the first certificate of its chain (%s) is for another key: put the leaf first, or name the right file", leaf.Subject)
	}
	return nil
}

func sameChain(a, b [][]byte) bool { return slices.EqualFunc(a, b, slices.Equal) }

// pinned reports whether policy names a key of g as previous: then it stays on the page.
func (g Generation) pinned(policy Policy) bool {
	return slices.ContainsFunc(policy.Static, func(s StaticKey) bool {
		return slices.ContainsFunc(g.Keys, func(k Key) bool { return s.Previous.names(k) })
	})
}

// adoption tells in which state keys of the administrator's are to become a generation, and
// why; "" where there is nothing to adopt. Those that are to sign come first: a previous key that
// is not to be found keeps nobody from signing, and the first page may be signed with at once
// only if it has them.
func (d Document) adoption(policy Policy) (State, string) {
	if !policy.static() {
		return "", ""
	}
	if !slices.ContainsFunc(d.Generations, func(g Generation) bool { return g.State != Retired && g.fits(policy) }) {
		return Pending, "the configuration names other active keys"
	}
	if len(d.unadopted(policy)) > 0 {
		return Retired, "the configuration names a previous key"
	}
	return "", ""
}

// unadopted are the previous keys that no generation has.
func (d Document) unadopted(policy Policy) (refs []StaticKey) {
	for _, s := range policy.Static {
		if s.Previous == nil || slices.ContainsFunc(d.Revoked, func(r Revocation) bool {
			return s.Previous.names(Key{ID: r.ID, Label: r.Label, KID: r.KID})
		}) {
			continue
		}
		if !slices.ContainsFunc(d.Generations, func(g Generation) bool { return slices.ContainsFunc(g.Keys, s.Previous.names) }) {
			refs = append(refs, s)
		}
	}
	return refs
}

// adopted makes keys of the administrator's a generation.
func (d Document) adopted(state State, keys []Key, policy Policy, now time.Time) (Document, []Event) {
	d = d.clone()
	d.Last++
	g := Generation{Number: d.Last, State: state, Static: true, Keys: keys, Made: now}
	if state == Pending {
		g.Lifetime = policy.guaranteed()
	} else {
		// What it signed before we knew of it may live as long as what is signed now.
		g.Lifetime = policy.MaxTokenLifetime
	}
	d.Generations = append(d.Generations, g)
	return d, []Event{event(eventAdopted, g.Number, g.kids(), now, string(state))}
}

// spec is one of the specs of a type.
func (t KeyType) spec() keyspec.Spec {
	if t == RSA {
		return keyspec.RSA2048
	}
	return keyspec.Spec(t)
}
