package config

import (
	"slices"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// Policy returns the rotation policy of the keyset, which has that name, with defaults
// filled in.
func (k Keyset) Policy(name string) rotation.Policy {
	usage := hsm.Sign
	if k.Purpose == Enc {
		usage = hsm.Decrypt
	}
	return rotation.Policy{
		Specs:              k.Keys,
		Token:              k.Token,
		Usage:              usage,
		Static:             k.static(),
		Period:             k.Rotation.Period.Duration,
		Manual:             k.Rotation.Period.Manual,
		Lead:               k.Rotation.Lead,
		Retain:             k.Rotation.Retain.Duration,
		RetainUntilRevoked: k.Rotation.Retain.UntilRevoked,
		ClockSkew:          k.Rotation.ClockSkew,
		VerifierCache:      k.Rotation.VerifierCache,
		MaxAge:             k.Publish.MaxAge,
		MaxTokenLifetime:   k.MaxTokenLifetime,
		MaxMessageAge:      k.MaxMessageAge,
		Algorithms:         k.Publish.Algorithms,
		MaxFreeze:          k.Rotation.MaxFreeze,
		ManualPerDay:       k.Rotation.ManualPerDay,
		ManualBurst:        k.Rotation.ManualBurst,
		External:           k.Certificate.Issuer == External,
		RequireChain:       k.Certificate.RequireX5C,
	}.WithDefaults().Spread(name)
}

// static are the administrator's keys in the order of their types; nil where the keyset is dynamic.
func (k Keyset) static() []rotation.StaticKey {
	if k.Mode != Static {
		return nil
	}
	keys := []rotation.StaticKey{}
	for _, t := range rotation.KeyTypes() {
		if s, ok := k.Static[t]; ok {
			keys = append(keys, rotation.StaticKey{Type: t, Active: s.Active.ref(), Previous: s.Previous.ref()})
		}
	}
	return keys
}

func (r *StaticRef) ref() *rotation.StaticRef {
	if r == nil {
		return nil
	}
	return &rotation.StaticRef{ID: r.ID, Label: r.Label, KID: r.KID, Chain: r.Chain}
}

// signers are the specs that a key of the keyset which signs can have.
func (k Keyset) signers() []keyspec.Spec {
	switch {
	case k.Purpose == Enc:
		return nil
	case k.Mode == Static:
		return slices.DeleteFunc(keyspec.All(), func(s keyspec.Spec) bool { return k.Static[rotation.TypeOf(s)].Active == nil })
	}
	return k.Keys
}

// offers reports whether the keyset signs with a.
func (k Keyset) offers(a jose.SignatureAlgorithm) bool {
	return slices.ContainsFunc(k.signers(), func(s keyspec.Spec) bool { return jwa.Fits(a, s) })
}

// offered returns every algorithm that the keyset signs with.
func (k Keyset) offered() []jose.SignatureAlgorithm {
	return slices.DeleteFunc(jwa.All(), func(a jose.SignatureAlgorithm) bool { return !k.offers(a) })
}

// activeTypes are the types that a static keyset has an active key of.
func (k Keyset) activeTypes() []rotation.KeyType {
	return slices.DeleteFunc(rotation.KeyTypes(), func(t rotation.KeyType) bool { return k.Static[t].Active == nil })
}
