package config

import (
	"maps"
	"slices"

	"keysetd.example/internal/jwa"
	"keysetd.example/rotation"
)

// namedKey is a key of a static keyset, and where the configuration names it.
type namedKey struct {
	at    path
	token string
	typ   rotation.KeyType
	*StaticRef
}

// namedKeys are those of all keysets, in one order.
func (c *Config) namedKeys() (keys []namedKey) {
	for _, name := range slices.Sorted(maps.Keys(c.Keysets)) {
		k := c.Keysets[name]
		for _, t := range rotation.KeyTypes() {
			for _, p := range k.Static[t].places() {
				at := root.join("keysets").join(name).join("static").join(string(t)).join(p.name)
				keys = append(keys, namedKey{at, k.Token, t, p.ref})
			}
		}
	}
	return keys
}

// keysOnce are all keys that the configuration names: a certificate authority's is no keyset's.
func (c *Config) keysOnce() (keys []namedKey) {
	for _, name := range slices.Sorted(maps.Keys(c.CertificateAuthorities)) {
		a := c.CertificateAuthorities[name]
		at := root.join("certificate_authorities").join(name)
		keys = append(keys, namedKey{at: at, token: a.Token, StaticRef: &StaticRef{Label: a.Label, ID: a.ID}})
	}
	return append(keys, c.namedKeys()...)
}

// checkOnce refuses a key that is named twice, for it has one purpose and one life.
func (c *Config) checkOnce(src *source) error {
	// one is a token, a label and an id; with any, every key that has them.
	type one struct {
		token, label, id string
		any              bool
	}
	seen := map[one]path{}
	for _, k := range c.keysOnce() {
		label, id := k.Label, string(k.ID)
		exact, byLabel, byID := one{k.token, label, id, false}, one{k.token, label, "", true}, one{k.token, "", id, true}
		alike := []one{exact, {k.token, label, "", false}, {k.token, "", id, false}}
		switch {
		case id == "":
			alike = []one{byLabel}
		case label == "":
			alike = []one{byID}
		}
		for _, a := range alike {
			if twin, ok := seen[a]; ok {
				return src.fail(k.at, "names the same key as %s; a key stands in one place only, and a label that several keys have goes with their ids", twin)
			}
		}
		seen[exact], seen[byLabel], seen[byID] = k.at, k.at, k.at
	}
	return nil
}

// checkKIDs refuses a kid that two keys would have, for a verifier could take either. An RSA key
// can at any time come to have one more for each algorithm (publish.algorithms), so those count.
func (c *Config) checkKIDs(src *source) error {
	own, more := map[string]path{}, map[string]path{}
	for _, k := range c.namedKeys() {
		if k.KID == "" {
			continue
		}
		at := k.at.join("kid")
		if twin, ok := own[k.KID]; ok {
			return src.fail(at, "is also the kid of %s; every key needs a kid of its own", twin)
		}
		if twin, ok := more[k.KID]; ok {
			return src.fail(at, "is also the kid that %s has for one of its algorithms (KID-ALG); every key needs a kid of its own", twin)
		}
		own[k.KID] = k.at
		if k.typ != rotation.RSA {
			continue
		}
		for _, a := range jwa.All() {
			if !jwa.IsRSA(a) {
				continue
			}
			alias := k.KID + "-" + string(a)
			if twin, ok := own[alias]; ok {
				return src.fail(at, "with -%s, the kid that the key has for that algorithm, it is the kid of %s; every key needs a kid of its own", a, twin)
			}
			more[alias] = k.at
		}
	}
	return nil
}
