package config

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/signing/policy"
)

func (c *Caller) check(src *source, at path, keysets map[string]Keyset) error {
	switch {
	case c.UID == nil && c.User == "":
		return src.fail(at, "uid is missing; give uid or user")
	case c.UID != nil && c.User != "":
		return src.fail(at.join("user"), "does not go with uid; name the user one way")
	case c.User != "":
		uid, err := src.opts.LookupUser(c.User)
		if err != nil {
			return src.fail(at.join("user"), "is not a user of this system; make the user first, or give its uid")
		}
		c.UID = &uid
	}
	switch {
	case *c.UID == math.MaxUint32:
		return src.fail(at.join("uid"), "%d is no user's uid", *c.UID)
	case len(c.Keysets) == 0:
		return src.fail(at, `keysets is missing; name some, or "*" for all`)
	case len(c.Operations) == 0:
		return src.fail(at, `operations is missing; name some of %s, or "*" for all`, join(policy.Operations()))
	}
	signs := slices.ContainsFunc(c.Operations, policy.Operation.Signs)
	switch {
	case len(c.Algorithms) == 0 && signs:
		return src.fail(at, `algorithms is missing; name some, or "*" for all`)
	case len(c.Algorithms) > 0 && !signs:
		return src.fail(at.join("algorithms"), "does not apply, for no operation that signs is granted; leave it out")
	}
	return c.checkNames(src, at, keysets)
}

// checkNames holds what is granted against what is there.
func (c *Caller) checkNames(src *source, at path, keysets map[string]Keyset) error {
	names := slices.Sorted(maps.Keys(keysets))
	granted := c.Keysets
	if slices.Contains(granted, policy.All) {
		granted = names
	}
	for i, k := range granted {
		if _, ok := keysets[k]; !ok {
			return src.fail(at.join("keysets").item(i), "is not the name of a keyset; the keysets are %s", join(names))
		}
	}
	for i, a := range c.Algorithms {
		if a == policy.All {
			continue
		}
		if !slices.ContainsFunc(granted, func(k string) bool { return keysets[k].offers(a) }) {
			return src.fail(at.join("algorithms").item(i), "no keyset that is granted has a key for %s; they sign with %s", a, cmp.Or(join(all(granted, keysets)), "none, for their purpose is enc"))
		}
	}
	return nil
}

// all returns every algorithm that some of the named keysets sign with.
func all(names []string, keysets map[string]Keyset) []jose.SignatureAlgorithm {
	var algs []jose.SignatureAlgorithm
	for _, n := range names {
		for _, a := range keysets[n].offered() {
			if !slices.Contains(algs, a) {
				algs = append(algs, a)
			}
		}
	}
	return algs
}
