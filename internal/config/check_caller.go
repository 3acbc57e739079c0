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
	if err := c.checkWho(src, at); err != nil {
		return err
	}
	switch {
	case len(c.Keysets) == 0:
		return src.fail(at, `keysets is missing; name some, or "*" for all`)
	case len(c.Operations) == 0:
		return src.fail(at, `operations is missing; name some of %s, or "*" for all`, join(policy.Operations()))
	case len(c.Algorithms) == 0 && c.grants(signing...):
		return src.fail(at, `algorithms is missing; name some, or "*" for all`)
	case len(c.ClientIDs) == 0 && c.grants(policy.ClientAssertion):
		return src.fail(at, `client_ids is missing; name those that assertions may be made for, or "*" for all`)
	}
	if err := c.checkLimits(src, at); err != nil {
		return err
	}
	return c.checkNames(src, at, keysets)
}

// checkWho tells who it is, and looks names up.
func (c *Caller) checkWho(src *source, at path) error {
	var given []string
	for _, f := range []string{"uid", "user", "gid", "group"} {
		if src.has(at.join(f)) {
			given = append(given, f)
		}
	}
	switch {
	case len(given) == 0:
		return src.fail(at, "uid is missing; give uid, user, gid or group")
	case len(given) > 1:
		return src.fail(at.join(given[1]), "does not go with %s; name the user or the group one way", given[0])
	}
	switch field := at.join(given[0]); given[0] {
	case "user":
		uid, err := src.opts.LookupUser(c.User)
		if err != nil {
			return src.fail(field, "is not a user of this system; make the user first, or give its uid")
		}
		c.UID = &uid
	case "group":
		gid, err := src.opts.LookupGroup(c.Group)
		if err != nil {
			return src.fail(field, "is not a group of this system; make the group first, or give its gid")
		}
		c.GID = &gid
	}
	switch field := at.join(given[0]); {
	case c.UID != nil && *c.UID == math.MaxUint32:
		return src.fail(field, "%d is no user's uid", *c.UID)
	case c.GID != nil && *c.GID == math.MaxUint32:
		return src.fail(field, "%d is no group's gid", *c.GID)
	}
	return nil
}

// signing are the operations that sign, using those that use a key at all, issuing those whose
// claims the daemon sees.
var (
	signing = slices.DeleteFunc(policy.Operations(), func(o policy.Operation) bool { return !o.Signs() })
	using   = slices.DeleteFunc(policy.Operations(), func(o policy.Operation) bool { return !o.UsesKey() })
	issuing = []policy.Operation{policy.JWT, policy.ClientAssertion}
)

// notGranted says that none of these is.
func notGranted(ops []policy.Operation) string {
	if len(ops) == 1 {
		return "operation " + string(ops[0]) + " is not granted"
	}
	return "none of the operations " + join(ops) + " is granted"
}

// checkLimits refuses limits of what is not granted, for who writes them expects them to do
// something, and those that are none. What an expression says, and limits beside sign, are checked
// with the policy.
func (c *Caller) checkLimits(src *source, at path) error {
	for _, scope := range []struct {
		fields []string
		of     []policy.Operation
	}{
		{[]string{"algorithms"}, signing},
		{[]string{"rate", "burst", "priority"}, using},
		{[]string{"types", "audiences", "claims"}, issuing},
		{[]string{"client_ids"}, []policy.Operation{policy.ClientAssertion}},
	} {
		for _, f := range scope.fields {
			if src.has(at.join(f)) && !c.grants(scope.of...) {
				return src.fail(at.join(f), "does not apply, for %s; leave it out", notGranted(scope.of))
			}
		}
	}
	for i, t := range c.Types {
		if !mediaType.MatchString(t) {
			return src.fail(at.join("types").item(i), aType)
		}
	}
	if i := slices.Index(c.Audiences, policy.All); i >= 0 {
		return src.fail(at.join("audiences").item(i), `"*" does not stand for every audience; leave audiences out to grant every one`)
	}
	return c.checkRate(src, at)
}

func (c *Caller) checkRate(src *source, at path) error {
	const most = maxRate
	rate, burst := at.join("rate"), at.join("burst")
	switch {
	case src.has(rate) && (c.Rate < 0.001 || c.Rate > most):
		return src.fail(rate, aRate)
	case src.has(burst) && !src.has(rate):
		return src.fail(burst, "goes with rate; give that, or leave burst out")
	case src.has(burst) && (c.Burst < 1 || c.Burst > most):
		return src.fail(burst, "must be from 1 to %d", most)
	case c.Priority < 0 || c.Priority > 9:
		return src.fail(at.join("priority"), "must be from 0 to 9")
	}
	return nil
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
	return c.checkMatches(src, at, granted, keysets)
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
