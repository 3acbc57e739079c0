package worker

import (
	"encoding/binary"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// values are attributes as the token gave them; those it does not know are missing.
type values map[uint][]byte

// attributes reads all at once, and one by one where the token does not know them all.
func (s session) attributes(o pkcs11.ObjectHandle, types ...uint) (values, error) {
	template := make([]*pkcs11.Attribute, len(types))
	for i, t := range types {
		template[i] = pkcs11.NewAttribute(t, nil)
	}
	read, err := s.ctx.GetAttributeValue(s.handle, o, template)
	if unknownAttribute(err) && len(types) > 1 {
		return s.eachAttribute(o, types)
	}
	if err != nil && !unknownAttribute(err) {
		return nil, failed("C_GetAttributeValue", err, "read an object on token %q", s.token)
	}
	v := values{}
	for _, a := range read {
		if a.Value != nil {
			v[a.Type] = a.Value
		}
	}
	return v, nil
}

func (s session) eachAttribute(o pkcs11.ObjectHandle, types []uint) (values, error) {
	all := values{}
	for _, t := range types {
		v, err := s.attributes(o, t)
		if err != nil {
			return nil, err
		}
		if value, ok := v[t]; ok {
			all[t] = value
		}
	}
	return all, nil
}

// unknownAttribute: the object has no such attribute, or does not show it
// (PKCS#11 v2.40 §5.7, C_GetAttributeValue).
func unknownAttribute(err error) bool {
	code := codeOf(err)
	return code == pkcs11.CKR_ATTRIBUTE_TYPE_INVALID || code == pkcs11.CKR_ATTRIBUTE_SENSITIVE
}

// ulong reads a CK_ULONG, and gives CK_UNAVAILABLE_INFORMATION where there is none.
func ulong(b []byte) uint {
	if len(b) != 8 {
		return ^uint(0)
	}
	return uint(binary.NativeEndian.Uint64(b))
}

// flag reads a CK_BBOOL.
func (v values) flag(t uint) *bool {
	b := v[t]
	if len(b) != 1 {
		return nil
	}
	set := b[0] != 0
	return &set
}

// privateTypes are the key's type and those of wire.PrivateAttributes.
var privateTypes = []uint{
	pkcs11.CKA_KEY_TYPE,
	pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_ALWAYS_SENSITIVE,
	pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_NEVER_EXTRACTABLE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_LOCAL,
	pkcs11.CKA_SIGN, pkcs11.CKA_SIGN_RECOVER, pkcs11.CKA_DECRYPT, pkcs11.CKA_DERIVE, pkcs11.CKA_UNWRAP,
}

func (v values) private() wire.PrivateAttributes {
	return wire.PrivateAttributes{
		Token:            v.flag(pkcs11.CKA_TOKEN),
		Private:          v.flag(pkcs11.CKA_PRIVATE),
		Sensitive:        v.flag(pkcs11.CKA_SENSITIVE),
		AlwaysSensitive:  v.flag(pkcs11.CKA_ALWAYS_SENSITIVE),
		Extractable:      v.flag(pkcs11.CKA_EXTRACTABLE),
		NeverExtractable: v.flag(pkcs11.CKA_NEVER_EXTRACTABLE),
		Modifiable:       v.flag(pkcs11.CKA_MODIFIABLE),
		Local:            v.flag(pkcs11.CKA_LOCAL),
		Sign:             v.flag(pkcs11.CKA_SIGN),
		SignRecover:      v.flag(pkcs11.CKA_SIGN_RECOVER),
		Decrypt:          v.flag(pkcs11.CKA_DECRYPT),
		Derive:           v.flag(pkcs11.CKA_DERIVE),
		Unwrap:           v.flag(pkcs11.CKA_UNWRAP),
	}
}
