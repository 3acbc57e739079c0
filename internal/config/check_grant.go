package config

import (
	"errors"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"keysetd.example/signing/policy"
)

// serving are the purposes of a keyset that serve an operation; those that are not here any keyset
// serves.
var serving = map[policy.Operation][]Purpose{
	policy.JWT:             {JWT, Any},
	policy.ClientAssertion: {JWT, Any},
	policy.Sign:            {Raw, Any},
	policy.Decrypt:         {Enc},
}

// variable is a word by which an expression looks at something.
var variable = regexp.MustCompile(`\b(claims|header|caller|now)\b`)

// SigningKeysets are the names of the keysets that sign payloads and digests, sorted; not nil.
func (c *Config) SigningKeysets() []string {
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(c.Keysets)) {
		if slices.Contains(serving[policy.Sign], c.Keysets[name].Purpose) {
			names = append(names, name)
		}
	}
	return names
}

// checkPolicy refuses what the policy of the callers would. The ids that stand apart in this kernel
// are not known here; whoever makes the policy for use refuses them.
func (c *Config) checkPolicy(src *source) error {
	for _, name := range slices.Sorted(maps.Keys(c.Callers)) {
		if claims := c.Callers[name].Claims; claims != "" && !variable.MatchString(string(claims)) { // not even an expression: its words are not for a log
			return src.fail(root.join("callers").join(name).join("claims"), `looks at none of claims, header, caller and now; write what must be true, as in claims.scope == "read"`)
		}
	}
	_, err := policy.New(c.Rules(), policy.Options{OverflowUID: math.MaxUint32, OverflowGID: math.MaxUint32, Signing: c.SigningKeysets()})
	wrong, ok := errors.AsType[*policy.RuleError](err)
	if !ok {
		return err
	}
	at := root.join("callers").join(wrong.Rule)
	if wrong.Field != "" {
		at = at.join(wrong.Field)
	}
	return src.fail(at, "%s", wrong.Detail)
}

// checkMatches refuses what can never be granted, because no keyset that is granted is for it.
func (c *Caller) checkMatches(src *source, at path, granted []string, keysets map[string]Keyset) error {
	everywhere := slices.Contains(c.Keysets, policy.All) // also in keysets that are yet to come
	for i, op := range c.Operations {
		purposes := serving[op]
		if len(purposes) > 0 && !everywhere && !slices.ContainsFunc(granted, func(k string) bool { return slices.Contains(purposes, keysets[k].Purpose) }) {
			return src.fail(at.join("operations").item(i), "no keyset that is granted is for %s, which takes one of purpose %s", op, alternatives(purposes))
		}
	}
	for i, t := range c.Types {
		if !c.typMatches(t, issuing, granted, keysets) {
			return src.fail(at.join("types").item(i), "is the typ of no token or assertion that is granted; see types and client_assertion of the keysets")
		}
	}
	for _, op := range issuing { // "*" stands for what there is
		ops := []policy.Operation{op}
		if len(c.Types) > 0 && slices.Contains(c.Operations, op) && !slices.ContainsFunc(c.Types, func(t string) bool { return c.typMatches(t, ops, granted, keysets) }) {
			return src.fail(at.join("types"), "leaves nothing of operation %s, which is granted; add a typ of what that makes (see %s of the keysets), or leave the operation out", op, typField[op])
		}
	}
	return nil
}

// typField is where a keyset says what typ it is.
var typField = map[policy.Operation]string{policy.JWT: "types", policy.ClientAssertion: "client_assertion"}

// typMatches reports whether one of the operations, if it is granted, makes something of this typ.
func (c *Caller) typMatches(typ string, ops []policy.Operation, granted []string, keysets map[string]Keyset) bool {
	return slices.ContainsFunc(c.takenTypes(ops, granted, keysets), func(t string) bool {
		return sameType(t, typ) || t == anyTyp && !sameType(typ, string(TypClientAuthentication))
	})
}

// anyTyp stands for every typ but that of assertions.
const anyTyp = "any"

// takenTypes are the typ values of what the operations make, if they are granted.
func (c *Caller) takenTypes(ops []policy.Operation, granted []string, keysets map[string]Keyset) (types []string) {
	for _, name := range granted {
		k := keysets[name]
		if !slices.Contains(serving[policy.JWT], k.Purpose) {
			continue
		}
		if slices.Contains(ops, policy.JWT) && c.grants(policy.JWT) {
			if len(k.Types) == 0 {
				types = append(types, anyTyp)
			}
			types = append(types, k.Types...)
		}
		if slices.Contains(ops, policy.ClientAssertion) && c.grants(policy.ClientAssertion) {
			types = append(types, string(k.ClientAssertion.Typ))
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func sameType(a, b string) bool { return strings.EqualFold(shortType(a), shortType(b)) }

// shortType is a media type without the "application/" that may be left out.
func shortType(t string) string {
	const tree = "application/"
	if len(t) > len(tree) && strings.EqualFold(t[:len(tree)], tree) {
		return t[len(tree):]
	}
	return t
}

func alternatives[T ~string](words []T) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	return strings.Join(list, " or ")
}
