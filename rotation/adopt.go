package rotation

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// adopt makes the keys that the administrator names a generation: those that are to be
// active a pending one, those that were a retired one. They must be on the token, each
// exactly once, be of the type that is said, and obey invariant 7.
func (m *Manager) adopt(ctx context.Context, k *keyset) (err error) {
	policy := k.policy
	state, _ := k.doc.adoption(policy)
	refs := policy.Static
	if state == Retired {
		refs = k.doc.unadopted(policy)
	}
	var objects []hsm.Object
	k.away(func() {
		ctx, cancel := context.WithTimeout(ctx, tokenLimit)
		defer cancel()
		objects, err = m.cfg.Tokens[policy.Token].Objects(ctx, "")
	})
	if err != nil {
		return err
	}
	var keys []Key
	var errs []error
	for _, s := range refs {
		ref := s.Active
		if state == Retired {
			ref = s.Previous
		}
		if ref == nil {
			continue
		}
		key, err := m.resolve(k, policy, s.Type, ref, objects)
		if err != nil {
			errs = append(errs, fmt.Errorf("the %s %s key on token %s: %w", state.word(), s.Type, policy.Token, err))
			continue
		}
		keys = append(keys, key)
	}
	if len(errs) > 0 {
		m.cfg.Tokens[policy.Token].Refresh() // it may be brought any moment
		return oneLine(errs)
	}
	if now, _ := k.doc.adoption(k.policy); now != state || !slices.EqualFunc(k.policy.Static, policy.Static, StaticKey.equal) {
		return nil // the configuration has changed meanwhile
	}
	if where := m.kidsTaken(k, keys); where != "" {
		return fmt.Errorf("%s: give one of them another kid", where)
	}
	doc, events := k.doc.adopted(state, keys, policy, clock())
	return m.save(ctx, k, doc, events...)
}

// word is what the configuration calls keys that come to be in this state.
func (s State) word() string {
	if s == Retired {
		return "previous"
	}
	return "active"
}

// resolve finds a static key on the token.
func (m *Manager) resolve(k *keyset, policy Policy, kind KeyType, ref *StaticRef, objects []hsm.Object) (Key, error) {
	usage := policy.usage(kind.spec())
	o, err := hsm.Find(objects, hsm.Ref{ID: ref.ID, Label: ref.Label}, usage, m.accepted(policy.Token))
	if err != nil {
		return Key{}, err
	}
	if strings.HasPrefix(o.Label, labelRoot+"/") {
		return Key{}, fmt.Errorf("%q was made by a keysetd, which destroys it in its time: name a key of your own", o.Label)
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return Key{}, fmt.Errorf("reading its public half: %w", err)
	}
	spec, err := keyspec.Of(pub)
	if err != nil {
		return Key{}, err
	}
	if TypeOf(spec) != kind {
		return Key{}, fmt.Errorf("it is a key of type %s: name it under that type", TypeOf(spec))
	}
	key := Key{Spec: spec, Token: policy.Token, ID: o.ID, Label: o.Label, KID: ref.KID, Usage: usage, Public: o.PublicKey, Chain: ref.Chain}
	if key.KID == "" {
		if key.KID, err = m.cfg.KeyID(pub); err != nil {
			return Key{}, fmt.Errorf("deriving its kid: %w", err)
		}
	}
	if keyset, revoked := m.revoked.Load(string(key.Public)); revoked && keyset != k.name {
		return Key{}, fmt.Errorf("it was revoked in keyset %s and may not come back: name another one", keyset)
	}
	for _, r := range k.doc.Revoked {
		if r.KID == key.KID || string(r.Public) == string(key.Public) {
			return Key{}, fmt.Errorf("it was revoked at %s (%s) and may not come back: name another one", r.At.Format("2006-01-02T15:04:05Z07:00"), r.Why)
		}
	}
	return key, key.leads(key.Chain)
}

// equal reports whether s and o name the same keys with the same chains.
func (s StaticKey) equal(o StaticKey) bool {
	chain := func(r *StaticRef) [][]byte {
		if r == nil {
			return nil
		}
		return r.Chain
	}
	return s.sameKeys(o) && sameChain(chain(s.Active), chain(o.Active)) && sameChain(chain(s.Previous), chain(o.Previous))
}

// sameKeys reports whether s and o name the same keys.
func (s StaticKey) sameKeys(o StaticKey) bool {
	same := func(a, b *StaticRef) bool {
		if a == nil || b == nil {
			return a == b
		}
		return string(a.ID) == string(b.ID) && a.Label == b.Label && a.KID == b.KID
	}
	return s.Type == o.Type && same(s.Active, o.Active) && same(s.Previous, o.Previous)
}

// oneLine is errs as one error that is told in one line.
func oneLine(errs []error) error {
	err := errs[0]
	for _, e := range errs[1:] {
		err = fmt.Errorf("%w; %w", err, e)
	}
	return err
}
