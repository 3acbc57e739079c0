package signing

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// registered are the claims that have one spelling only: those of RFC 7519 §4.1, whose types and
// values have rules here, and those by which verifiers decide who somebody is, what for and what
// the token is bound to (RFC 7800, 8693, 8705, 9068, 9396, OpenID Connect Core §2 and §5.1, logout).
// All are in lower case.
var registered = set(
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti",
	"client_id", "azp", "scope", "scp", "cnf", "typ", "act", "may_act", "authorization_details",
	"nonce", "auth_time", "acr", "amr", "at_hash", "c_hash", "s_hash", "sid", "events", "sub_jwk", "sub_id",
	"groups", "roles", "entitlements", "email", "email_verified", "phone_number", "phone_number_verified",
	"response_type", "redirect_uri", "htm", "htu", "ath",
)

func set(words ...string) map[string]struct{} {
	s := make(map[string]struct{}, len(words))
	for _, w := range words {
		s[w] = struct{}{}
	}
	return s
}

// memberNames holds the names of an object's members to what every verifier reads alike. Those
// that match names without regard to case, as Go's encoding/json does, would take "EXP" for exp,
// and so a value that nobody here has judged. (The names of a header need none of this: each is
// one of a list that has none in two spellings, see HeaderSettings.check.)
type memberNames map[string]string // as seen so far, by fold

func (seen memberNames) judge(name string) error {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return badClaims("", "the claim %s has a control character in its name", quote(name))
	}
	f := fold(name)
	if _, is := registered[f]; is && f != name {
		return badClaims("", "the claim %s differs from %q in case only; some verifiers take one for the other", quote(name), f)
	}
	if other, twice := seen[f]; twice {
		return badClaims("", "the claims %s and %s differ in case only; some verifiers take one for the other", quote(other), quote(name))
	}
	seen[f] = name
	return nil
}

// fold returns the same for two names exactly if strings.EqualFold says that they are equal: each
// character becomes the first of those that it folds to, or if that is a letter of ASCII, its
// lower case. A name that is folded already is returned as it is.
func fold(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' {
			return strings.Map(foldRune, name)
		}
	}
	return name
}

func foldRune(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if least >= 'A' && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}
