package rotation

import (
	"fmt"
	"maps"
)

// claim is a kid that a key has of which no snapshot tells yet.
type claim struct {
	keyset string
	public string // PKIX DER
}

// kidsTaken tells where a kid stands already that one of keys would have too, or "". A kid stands
// for one key, wherever it is published: in k, in another keyset, or among keys themselves.
//
// If none is taken they are k's from then on, for no other keyset to take them at the same
// time, until k is shown next and readers see which of them it has.
func (m *Manager) kidsTaken(k *keyset, keys []Key) string {
	owners := map[string]claim{} // of the kids that keys would have
	for _, key := range keys {
		for _, kid := range m.cfg.Aliases(key.KID, key.Spec) {
			if _, twice := owners[kid]; twice {
				return fmt.Sprintf("kid %q would stand for two keys of one generation", kid)
			}
			owners[kid] = claim{k.name, string(key.Public)}
		}
	}
	clash := func(keyset string, doc Document) string {
		for _, g := range doc.Generations {
			for _, other := range g.Keys {
				for _, kid := range m.cfg.Aliases(other.KID, other.Spec) {
					// A static key may go on in the next generation of its own keyset.
					if own, taken := owners[kid]; taken && own != (claim{keyset, string(other.Public)}) {
						return fmt.Sprintf("kid %q stands for a key of generation %d of keyset %s already", kid, g.Number, keyset)
					}
				}
			}
		}
		return ""
	}
	if where := clash(k.name, k.doc.Document); where != "" {
		return where
	}
	m.claiming.Lock()
	defer m.claiming.Unlock()
	for kid, own := range owners {
		if c, taken := m.claims[kid]; taken && c != own {
			return fmt.Sprintf("kid %q is about to stand for a key of keyset %s", kid, c.keyset)
		}
	}
	for name, other := range m.Snapshot().Keysets { // which has what left the claims
		if name != k.name {
			if where := clash(name, other.Document); where != "" {
				return where
			}
		}
	}
	maps.Copy(m.claims, owners)
	return ""
}

// disclaim ends the claims of k: the snapshot has it as it is.
func (m *Manager) disclaim(k *keyset) {
	m.claiming.Lock()
	defer m.claiming.Unlock()
	maps.DeleteFunc(m.claims, func(_ string, c claim) bool { return c.keyset == k.name })
}
