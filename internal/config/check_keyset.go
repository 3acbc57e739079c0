package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
)

func (k *Keyset) check(src *source, name string, tokens map[string]Token) error {
	at := root.join("keysets").join(name)
	switch {
	case name == AuditKeyset:
		return src.fail(at, "is a reserved name, for the keys that sign the audit log's checkpoints; choose another")
	case k.Purpose == "":
		return src.fail(at, "purpose is missing; write jwt, raw, any or enc")
	}
	for _, check := range []func(*source, path) error{k.checkScope, k.checkKeys, k.checkClaims, k.checkAlgorithms, k.checkCertificate, k.checkHeader, k.checkDiscovery} {
		if err := check(src, at); err != nil {
			return err
		}
	}
	if err := checkToken(src, at, &k.Token, tokens); err != nil {
		return err
	}
	return k.checkRotation(src, at, name)
}

func (k *Keyset) checkClaims(src *source, at path) error {
	if k.Purpose != JWT && k.Purpose != Any {
		return nil
	}
	if k.Issuer == "" && !k.AnyIssuer {
		return src.fail(at, "issuer is missing; give it, or any_issuer: true to let claims carry any iss")
	}
	if u, err := url.Parse(k.Issuer); strings.Contains(k.Issuer, ":") && (err != nil || u.Scheme == "") || len(k.Issuer) > 1024 {
		return src.fail(at.join("issuer"), "must be a URI, since it has a colon (RFC 7519 §2), of at most 1024 bytes")
	}
	return nil
}

func (k *Keyset) checkAlgorithms(src *source, at path) error {
	field, keys := "keys", join(k.Keys)
	if k.Mode == Static {
		field, keys = "static", "active "+join(k.activeTypes())
	}
	if a := k.DefaultAlgorithm; a != "" && !k.offers(a) {
		return src.fail(at.join("default_algorithm"), "%s needs a key that %s does not name; %s: [%s] sign with %s", a, field, field, keys, join(k.offered()))
	}
	algs := at.join("publish").join("algorithms")
	for i, a := range k.Publish.Algorithms {
		if !jwa.IsRSA(a) {
			return src.fail(algs.item(i), "%s is no RSA algorithm; every other key has one algorithm and is always published with it", a)
		}
	}
	if len(k.Publish.Algorithms) > 0 && !slices.ContainsFunc(k.signers(), keyspec.Spec.RSA) {
		return src.fail(algs, "is for RSA keys, and %s names none: [%s]", field, keys)
	}
	return nil
}

// checkToken fills in which token it is, where that is clear.
func checkToken(src *source, at path, token *string, tokens map[string]Token) error {
	names := slices.Sorted(maps.Keys(tokens))
	_, named := tokens[*token]
	_, usual := tokens[DefaultToken]
	switch {
	case *token == "" && len(names) == 1:
		*token = names[0]
	case *token == "" && usual:
		*token = DefaultToken
	case *token == "":
		return src.fail(at, "token is missing, and no token is named %s; the tokens are %s", DefaultToken, join(names))
	case !named:
		return src.fail(at.join("token"), "is not the name of a token; the tokens are %s", join(names))
	}
	return nil
}
