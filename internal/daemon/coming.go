package daemon

import (
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
)

// What cannot be asked for yet and will: algorithms, and kids. An instant that is not known yet
// is zero.

// comingStatus is what callers are told of it: algorithms, and kids of their own for one.
func comingStatus(k *rotation.Keyset) (list []v1.Coming) {
	told := comingAlgorithms(k)
	maps.Copy(told, k.ComingAlgorithms()) // as yet they are signed under the key's own kid
	for _, alg := range slices.Sorted(maps.Keys(told)) {
		if at := told[alg]; !at.IsZero() {
			list = append(list, v1.Coming{Algorithm: string(alg), At: at})
		}
	}
	return list
}

// comingAlgorithms are those that no key of the keyset signs with now.
func comingAlgorithms(k *rotation.Keyset) map[jose.SignatureAlgorithm]time.Time {
	coming := map[jose.SignatureAlgorithm]time.Time{}
	for spec, at := range k.Coming() {
		for _, alg := range jwa.ForSpec(spec) {
			if slices.ContainsFunc(k.Signing, func(key rotation.Key) bool { return jwa.Fits(alg, key.Spec) }) {
				continue
			}
			if before, other := coming[alg]; !other || before.IsZero() || !at.IsZero() && at.Before(before) {
				coming[alg] = at
			}
		}
	}
	return coming
}

// comingKIDs are those under which nothing is signed yet: of keys whose time is to come, and
// those that keys have for an algorithm whose time is to come.
func comingKIDs(k *rotation.Keyset) map[string]time.Time {
	coming := map[string]time.Time{}
	own, soon := k.Document.SigningAlgorithms(), k.ComingAlgorithms()
	add := func(key rotation.Key, alg jose.SignatureAlgorithm, at time.Time) {
		if kid := jwks.KIDFor(key.KID, alg, []jose.SignatureAlgorithm{alg}); jwa.Fits(alg, key.Spec) {
			coming[kid] = at
		}
	}
	for _, key := range k.Signing {
		for alg, at := range soon {
			add(key, alg, at)
		}
	}
	for _, g := range k.Document.Generations {
		if g.State != rotation.Pending {
			continue
		}
		at := k.Document.Until(g, k.Policy)
		for _, key := range g.Keys {
			if slices.ContainsFunc(k.Signing, func(other rotation.Key) bool { return other.KID == key.KID }) {
				continue // a static key that stays while others change
			}
			coming[key.KID] = at
			for _, alg := range own {
				add(key, alg, at)
			}
			for alg, ready := range soon {
				if at.IsZero() || ready.Before(at) {
					ready = at
				}
				add(key, alg, ready)
			}
		}
	}
	return coming
}
