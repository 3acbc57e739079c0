package signing

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// HeaderSettings say what stands in the protected header of a keyset's tokens besides alg, and
// what callers may put there. The zero value is kid, and whatever typ the caller names.
type HeaderSettings struct {
	// NoKID leaves kid out.
	NoKID bool
	// X5C puts in the certificate chain (RFC 7515 §4.1.6), X5TS256 the SHA-256 of its first
	// certificate (§4.1.8), of keys that have a chain; other keys' tokens do without.
	X5C, X5TS256 bool
	// JKU is the address of the JWKS, an absolute URL (RFC 7515 §4.1.2). Empty: it is left out.
	JKU string
	// Allow names further parameters that callers may set, to any JSON value, 4 KiB of them
	// together. None that says which key verifies, or how the JWS is read (see
	// FixedParameters).
	Allow []string
	// Types are the values that typ may have, compared as media types are: in any case, with or
	// without "application/". Where there are some, a token has one of them. Empty: any media
	// type. A request that names none asks for JWT. client-authentication+jwt is that of client
	// assertions, and of no token.
	Types []string
}

// maxMore is how much callers may put into a header beyond typ: names and values, in bytes as sent.
const maxMore = 4 << 10

// FixedParameters returns the header parameters that no setting opens to callers: those that say
// how a JWS is to be read (RFC 7515 §4.1.11, RFC 7797 §3), those that lead a verifier to a key (RFC
// 8725 §3.10), and those that are a JWE's (RFC 7516 §4.1). The slice is the caller's.
func FixedParameters() []string {
	return []string{"alg", "kid", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc", "jwks", "x5t#S512", "trust_chain"}
}

func (s HeaderSettings) check() error {
	if s.JKU != "" {
		if u, err := url.Parse(s.JKU); err != nil || u.Scheme == "" || u.Host == "" || !utf8.ValidString(s.JKU) {
			return fmt.Errorf("header: jku %q is not an absolute URL", s.JKU)
		}
	}
	for i, name := range s.Allow {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		switch {
		case name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
			return fmt.Errorf("header: %q cannot be a parameter that callers set", name)
		case same("typ"):
			return fmt.Errorf("header: typ is always the caller's to set; types says to what")
		case slices.ContainsFunc(FixedParameters(), same):
			return fmt.Errorf("header: the parameter %s is never the caller's to set", name)
		case slices.ContainsFunc(s.Allow[:i], same):
			return fmt.Errorf("header: the parameter %s is allowed twice, or in two spellings", name)
		}
	}
	for _, typ := range s.Types {
		if judgeTyp(typ) != nil {
			return fmt.Errorf("header: typ %q is no media type", typ)
		}
		if sameType(typ, assertionTypOwn) {
			return fmt.Errorf("header: typ %q is that of client assertions, and of no token", typ)
		}
	}
	return nil
}

// takes reports whether a token may have this typ; "" stands for none.
func (s HeaderSettings) takes(typ string) bool {
	return len(s.Types) == 0 || slices.ContainsFunc(s.Types, func(t string) bool { return sameType(t, typ) })
}

// sameType compares media types, which have no case (RFC 7515 §4.1.9).
func sameType(a, b string) bool { return strings.EqualFold(mediaType(a), mediaType(b)) }

// mediaType is typ without the "application/" that may be left out, in any case.
func mediaType(typ string) string {
	if n := len(applicationTree); len(typ) >= n && strings.EqualFold(typ[:n], applicationTree) {
		return typ[n:]
	}
	return typ
}

const applicationTree = "application/"

// most is how much callers may put into a header beyond typ, in bytes.
func (s HeaderSettings) most() int {
	if len(s.Allow) == 0 {
		return 0
	}
	return maxMore
}

// parameters lists what callers may set, for messages.
func (s HeaderSettings) parameters() string {
	return strings.Join(append([]string{"typ"}, s.Allow...), ", ")
}
