package worker

import (
	"slices"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// generation is what C_GenerateKeyPair is given.
type generation struct {
	mechanism       uint
	public, private []*pkcs11.Attribute
}

// template makes the templates of invariant 7: the private key stays on the token, shows
// its value to nobody, does one thing, and never changes.
func template(r wire.GenerateRequest) (generation, error) {
	if len(r.ID) == 0 || r.Label == "" {
		return generation{}, refused(pkcs11.CKR_ARGUMENTS_BAD, "generate %s: a key needs a CKA_ID and a label", name(wire.Ref{ID: r.ID, Label: r.Label}))
	}
	var g generation
	var kind uint
	var domain []*pkcs11.Attribute
	switch ed := r.Spec == keyspec.Ed25519; {
	case r.Spec.RSA() && (r.Usage == wire.Sign || r.Usage == wire.Decrypt):
		g.mechanism, kind = pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKK_RSA
		domain = attributes(pkcs11.CKA_MODULUS_BITS, uint(r.Spec.Bits()), pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})
	case r.Spec.Curve() != nil && (r.Usage == wire.Sign || r.Usage == wire.Derive):
		g.mechanism, kind = pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKK_EC
		domain = attributes(pkcs11.CKA_EC_PARAMS, curveOID(r.Spec))
	case ed && r.Usage == wire.Sign:
		g.mechanism, kind = ckmECEdwardsKeyPairGen, ckkECEdwards
		domain = attributes(pkcs11.CKA_EC_PARAMS, curveOID(r.Spec))
	default:
		return generation{}, reason(wire.Unsupported, "generate key %q: a key of spec %q cannot %q", r.Label, r.Spec, r.Usage)
	}
	g.public = append(attributes(
		pkcs11.CKA_CLASS, uint(pkcs11.CKO_PUBLIC_KEY),
		pkcs11.CKA_KEY_TYPE, kind,
		pkcs11.CKA_TOKEN, true,
		pkcs11.CKA_PRIVATE, false,
		pkcs11.CKA_VERIFY, r.Usage == wire.Sign,
		pkcs11.CKA_ENCRYPT, r.Usage == wire.Decrypt,
		pkcs11.CKA_WRAP, false,
		pkcs11.CKA_ID, r.ID,
		pkcs11.CKA_LABEL, r.Label,
	), domain...)
	g.private = attributes(
		pkcs11.CKA_CLASS, uint(pkcs11.CKO_PRIVATE_KEY),
		pkcs11.CKA_KEY_TYPE, kind,
		pkcs11.CKA_TOKEN, true,
		pkcs11.CKA_PRIVATE, true,
		pkcs11.CKA_SENSITIVE, true,
		pkcs11.CKA_EXTRACTABLE, false,
		pkcs11.CKA_MODIFIABLE, false,
		pkcs11.CKA_SIGN, r.Usage == wire.Sign,
		pkcs11.CKA_SIGN_RECOVER, false,
		pkcs11.CKA_DECRYPT, r.Usage == wire.Decrypt,
		pkcs11.CKA_DERIVE, r.Usage == wire.Derive,
		pkcs11.CKA_UNWRAP, false,
		pkcs11.CKA_ID, r.ID,
		pkcs11.CKA_LABEL, r.Label,
	)
	return g, nil
}

// modifiable is g for tokens that do not let a template say that a key never changes.
func (g generation) modifiable() generation {
	g.private = slices.DeleteFunc(slices.Clone(g.private), func(a *pkcs11.Attribute) bool {
		return a.Type == pkcs11.CKA_MODIFIABLE
	})
	return g
}

// attributes takes pairs of a type and its value.
func attributes(pairs ...any) []*pkcs11.Attribute {
	var all []*pkcs11.Attribute
	for p := range slices.Chunk(pairs, 2) {
		all = append(all, pkcs11.NewAttribute(uint(p[0].(int)), p[1]))
	}
	return all
}

// curveOID is CKA_EC_PARAMS of a curve: its object identifier, which every token that
// has the curve takes.
func curveOID(spec keyspec.Spec) []byte {
	for der, s := range curves {
		if s == spec && der[0] == 0x06 {
			return []byte(der)
		}
	}
	return nil
}
