package daemon

import (
	"cmp"
	"fmt"
	"slices"

	"keysetd.example/internal/config"
	"keysetd.example/rotation"
	"keysetd.example/signing"
)

// decrypt adds what callers need of a keyset that decrypts: the active keys, and behind them those
// before, the newest first. Pending ones are proven ahead of their time.
func (p *publisher) decrypt(out *shown, k *rotation.Keyset, cfg *config.Config) error {
	s := &out.signing
	for _, g := range newestFirst(k.Document.Generations) {
		for _, key := range g.Keys {
			if _, there := cfg.Tokens[key.Token]; !there || !key.Lost.IsZero() {
				continue
			}
			// A static key may be of several generations.
			if slices.ContainsFunc(s.Decrypters, func(d signing.DecryptKey) bool { return d.KID == key.KID }) {
				continue
			}
			handle, err := p.key(key)
			if err != nil {
				return fmt.Errorf("key %s: %w", key.KID, err)
			}
			proven := provenKey{handle, &p.proofs, provenName{key.Token, string(key.ID), key.Label}, key.Spec}
			out.unwrapping = append(out.unwrapping, proven)
			if g.State == rotation.Pending {
				continue
			}
			out.keys = append(out.keys, handle)
			s.Decrypters = append(s.Decrypters, signing.DecryptKey{
				KID: key.KID, Spec: key.Spec, Key: proven, Active: g.State == rotation.Active, Chain: key.Chain,
			})
		}
	}
	return nil
}

// newestFirst puts the active generation before the retired ones, and those from the newest on.
func newestFirst(generations []rotation.Generation) []rotation.Generation {
	sorted := slices.Clone(generations)
	slices.SortFunc(sorted, func(a, b rotation.Generation) int { return cmp.Compare(b.Number, a.Number) })
	return inOrder(sorted)
}
