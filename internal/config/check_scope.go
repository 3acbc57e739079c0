package config

import (
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// checkScope refuses fields that do not apply to a keyset of this purpose and mode, for who
// writes them expects them to do something.
func (k *Keyset) checkScope(src *source, at path) error {
	for _, scope := range []struct {
		holds  bool
		fields []string
		why    string
	}{
		{k.Purpose == Raw, []string{"issuer", "any_issuer", "max_token_lifetime", "header", "types", "client_assertion"}, "does not apply to purpose raw, which sees no claims; leave it out"},
		{k.Purpose == Enc, []string{"issuer", "any_issuer", "max_token_lifetime", "default_algorithm", "publish/algorithms", "header", "types", "client_assertion"}, "does not apply to purpose enc, which signs nothing; leave it out"},
		{k.Purpose == Enc, []string{"rotation/lead"}, "does not apply to purpose enc, whose keys are published when they become active; leave it out"},
		{k.Purpose != Enc, []string{"max_message_age"}, "is for purpose enc only, whose keys decrypt messages; leave it out"},
		{k.Mode == Dynamic, []string{"static"}, "is for mode static only; in mode dynamic keysetd makes the keys that keys asks for"},
		{k.Mode == Static, []string{"keys"}, "does not apply to mode static, whose keys stand under static; leave it out"},
		{k.Mode == Static, []string{"rotation/period"}, "does not apply to mode static, whose keys change when this file does; leave it out"},
		{k.Mode == Static, []string{"certificate"}, "does not apply to mode static, whose certificates stand under static, each as the chain of its key; leave it out"},
	} {
		for _, f := range scope.fields {
			if scope.holds && src.has(at.join(f)) {
				return src.fail(at.join(f), "%s", scope.why)
			}
		}
	}
	if k.Purpose == Enc && !src.has(at.join("max_message_age")) {
		return src.fail(at, "max_message_age is missing; say how old a message may be that is to be decrypted")
	}
	return nil
}

// checkKeys tells whether there are keys, and keys that do what they are for.
func (k *Keyset) checkKeys(src *source, at path) error {
	if k.Mode == Dynamic && len(k.Keys) == 0 {
		return src.fail(at, "keys is missing; name at least one key spec, as in [rsa-2048, p-256]")
	}
	const signsOnly = "an Ed25519 key only signs; for purpose enc take RSA keys and those on P-256, P-384 and P-521"
	if k.Purpose == Enc {
		for i, s := range k.Keys {
			if s == keyspec.Ed25519 {
				return src.fail(at.join("keys").item(i), signsOnly)
			}
		}
		ed := rotation.TypeOf(keyspec.Ed25519)
		if _, ok := k.Static[ed]; ok {
			return src.fail(at.join("static").join(string(ed)), signsOnly)
		}
	}
	if k.Mode == Static {
		return k.checkStatic(src, at)
	}
	return nil
}
