package main

import (
	"fmt"
	"slices"
	"strings"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
)

// keysetWith returns the one keyset that has a key with this kid, live or revoked.
func keysetWith(keysets []v1.Keyset, kid string) (string, error) {
	var found []string
	for _, k := range keysets {
		if has(k, kid) {
			found = append(found, k.Name)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no keyset that you may read has a key %s; see `keysetctl status`, or name its keyset with --keyset", kid)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("key %s is in the keysets %s; name the one that is meant with --keyset", kid, strings.Join(found, ", "))
}

func has(k v1.Keyset, kid string) bool {
	return slices.ContainsFunc(k.Revoked, func(r v1.RevokedKey) bool { return isOf(kid, r.KID) }) ||
		slices.ContainsFunc(k.Generations, func(g v1.Generation) bool {
			return slices.ContainsFunc(g.Keys, func(key v1.Key) bool { return isOf(kid, key.KID) })
		})
}

// isOf reports whether kid is the key's own, or the one that it has for an RSA algorithm.
func isOf(kid, own string) bool {
	suffix, ok := strings.CutPrefix(kid, own)
	if !ok || suffix == "" {
		return ok
	}
	name, ok := strings.CutPrefix(suffix, "-")
	alg, err := jwa.Parse(name)
	return ok && err == nil && jwa.IsRSA(alg)
}
