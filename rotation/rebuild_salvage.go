package rotation

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// salvage is what the objects on the tokens are good for.
type salvage struct {
	keys    map[string][]salvaged // by keyset, in the order of their specs
	last    map[string]int
	revoked map[string][]Revocation
	left    []LeftAlone
}

// salvaged is a key that is to be published again.
type salvaged struct {
	Key
	keyset     string
	generation int
	// proven: its private half is there and can be used.
	proven bool
}

// mostAhead is by how much a public key that stands alone may raise the last number. An attempt
// that was not finished is one ahead or a few; beyond that somebody wants to spoil our numbers.
const mostAhead = 64

// salvage goes through all objects. Each is a key of the result or left alone.
func (r RebuildRequest) salvage() salvage {
	s := salvage{keys: map[string][]salvaged{}, last: map[string]int{}, revoked: map[string][]Revocation{}}
	for keyset, revoked := range r.Revoked {
		s.revoked[keyset] = slices.Clone(revoked)
		for _, v := range revoked {
			s.last[keyset] = max(s.last[keyset], v.Generation)
		}
	}
	var found []salvaged
	var alone []Label // of public keys
	for _, token := range slices.Sorted(maps.Keys(r.Objects)) {
		for _, o := range r.Objects[token] {
			var k salvaged
			l, why := r.label(o)
			if named := r.named(token, o, s); why != "" && named != "" {
				why = named
			}
			if why == "" {
				if o.Private {
					s.last[l.Keyset] = max(s.last[l.Keyset], l.Generation)
				} else {
					alone = append(alone, l)
				}
				if k, why = r.key(token, l, o, s); why == "" {
					found = append(found, k)
					s.last[l.Keyset] = max(s.last[l.Keyset], l.Generation)
				}
			}
			if why != "" {
				s.left = append(s.left, LeftAlone{Token: token, ID: o.ID, Label: o.Label, Why: why, Unproven: k.KID != ""})
			}
		}
	}
	slices.SortFunc(alone, func(a, b Label) int { return cmp.Compare(a.Generation, b.Generation) })
	for _, l := range alone {
		if last := s.last[l.Keyset]; l.Generation-mostAhead <= last {
			s.last[l.Keyset] = max(last, l.Generation)
		}
	}
	s.unite(r, found)
	slices.SortFunc(s.left, func(a, b LeftAlone) int {
		return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID))
	})
	return s
}

// label reads the label of an object of the installation, or tells why it is none.
func (r RebuildRequest) label(o Found) (l Label, why string) {
	l, err := ParseLabel(o.Label)
	switch {
	case err != nil && strings.HasPrefix(o.Label, labelRoot+"/"):
		return l, "no version of keysetd writes such a label"
	case err != nil:
		return l, "its label is none of keysetd's"
	case l.Installation != r.Installation:
		return l, "it is of installation " + l.Installation
	}
	return l, ""
}

// key reads an object, or tells why it cannot be published. Of a revoked one it puts down that it is
// left on the token.
func (r RebuildRequest) key(token string, l Label, o Found, s salvage) (k salvaged, why string) {
	if len(o.PublicKey) == 0 {
		return k, "the token does not tell its public key, or has several with its CKA_ID"
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return k, fmt.Sprintf("its public key cannot be read: %v", err)
	}
	if spec, err := keyspec.Of(pub); err != nil || spec != l.Spec {
		return k, fmt.Sprintf("its public key is no %s key", l.Spec)
	}
	kid, err := r.KeyID(pub)
	if err != nil {
		return k, fmt.Sprintf("its kid cannot be derived: %v", err)
	}
	if why = s.wasRevoked(kid, o.PublicKey); why != "" {
		return k, why
	}
	k = salvaged{keyset: l.Keyset, generation: l.Generation, proven: o.Private && o.Doubt == nil}
	k.Key = Key{Spec: l.Spec, Token: token, ID: o.ID, Label: o.Label, KID: kid, Usage: usageOf(o.Object, l.Spec, r.Policies[l.Keyset]), Public: o.PublicKey}
	switch {
	case k.proven:
	case !o.Private && !r.Unproven:
		return k, fmt.Sprintf("it is a public key alone, kid %s, and anybody can lay one on a token", kid)
	case !r.Unproven:
		return k, fmt.Sprintf("its private half is not proven to belong to its public key, kid %s: %v", kid, o.Doubt)
	case !o.Private:
		k.Lost = r.Now
	}
	return k, ""
}

// wasRevoked tells when and why a key was, or "". It puts down that it is left on the token.
func (s salvage) wasRevoked(kid string, public []byte) (why string) {
	for _, keyset := range slices.Sorted(maps.Keys(s.revoked)) {
		for i, v := range s.revoked[keyset] {
			if v.KID == kid || len(public) > 0 && bytes.Equal(v.Public, public) {
				s.revoked[keyset][i].Kept = true
				why = fmt.Sprintf("its key %s was revoked at %s (%s): destroy it by hand if nobody needs it", v.KID, v.At.Format(time.RFC3339), v.Why)
			}
		}
	}
	return why
}

// named tells which static keyset an object of the administrator's is for, or "".
func (r RebuildRequest) named(token string, o Found, s salvage) string {
	if !o.Private || strings.HasPrefix(o.Label, labelRoot+"/") {
		return ""
	}
	for _, keyset := range slices.Sorted(maps.Keys(r.Policies)) {
		policy := r.Policies[keyset]
		for _, key := range policy.Static {
			for _, ref := range []*StaticRef{key.Active, key.Previous} {
				if ref == nil || policy.Token != token || !ref.names(Key{ID: o.ID, Label: o.Label, KID: ref.KID}) {
					continue
				}
				if why := s.wasRevoked("", o.PublicKey); why != "" {
					return why + fmt.Sprintf("; static keyset %s names it, and must name another one", keyset)
				}
				return fmt.Sprintf("named by static keyset %s: left alone, taken over at the start", keyset)
			}
		}
	}
	return ""
}

// usageOf tells what a key is for: by its private half, and where there is none, by what the
// keyset is for now.
func usageOf(o hsm.Object, spec keyspec.Spec, policy Policy) hsm.Usage {
	is := func(b *bool) bool { return b != nil && *b }
	switch a := o.Attributes; {
	case is(a.Sign):
		return hsm.Sign
	case is(a.Decrypt):
		return hsm.Decrypt
	case is(a.Derive):
		return hsm.Derive
	}
	return policy.usage(spec)
}

// unite takes each key once, as a token and its copy may both be configured: rather the one
// that is proven, and the one on the token that the keyset is made on.
func (s *salvage) unite(r RebuildRequest, found []salvaged) {
	elsewhere := func(k salvaged) bool { return k.Token != r.Policies[k.keyset].Token }
	order := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	slices.SortFunc(found, func(a, b salvaged) int {
		return cmp.Or(
			order(!a.proven)-order(!b.proven), order(elsewhere(a))-order(elsewhere(b)),
			cmp.Compare(a.Token, b.Token), cmp.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID))
	})
	taken := map[string]salvaged{}
	for _, k := range found {
		if first, ok := taken[k.KID]; ok {
			s.left = append(s.left, LeftAlone{Token: k.Token, ID: k.ID, Label: k.Label, Why: fmt.Sprintf("it is the same key as %q on token %s", first.Label, first.Token)})
			continue
		}
		taken[k.KID] = k
		s.keys[k.keyset] = append(s.keys[k.keyset], k)
	}
	for keyset, keys := range s.keys {
		rank := func(k salvaged) int {
			if i := slices.Index(r.Policies[keyset].Specs, k.Spec); i >= 0 {
				return i
			}
			return len(keyspec.All()) + slices.Index(keyspec.All(), k.Spec)
		}
		slices.SortStableFunc(keys, func(a, b salvaged) int { return cmp.Compare(rank(a), rank(b)) })
	}
}
