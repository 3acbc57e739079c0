package config

import (
	"regexp"
	"slices"
	"strings"
	"time"

	service "keysetd.example/signing"
)

// Header says what stands in the protected header of tokens and assertions besides alg and typ.
type Header struct {
	// KID is the key's id (RFC 7515 §4.1.4). Left out: true.
	KID bool `yaml:"kid"`
	// X5C is the certificate chain (RFC 7515 §4.1.6), where the key has one. Left out: false.
	X5C bool `yaml:"x5c"`
	// X5TS256 is the SHA-256 thumbprint of the certificate (RFC 7515 §4.1.8), where the key has
	// one. Left out: false.
	X5TS256 bool `yaml:"x5t#S256"`
	// JKU is the address of the JWKS below public_url, which must be given (RFC 7515 §4.1.2). Left
	// out: false.
	JKU bool `yaml:"jku"`
	// Allow names further parameters that callers may set, of up to 64 letters, digits and "#",
	// "-", ".", "_"; none that says which key verifies or how the token is read. Left out: none.
	Allow []string `yaml:"allow"`
}

func (h *Header) setDefaults() { h.KID = true }

// ClientAssertion says how the assertions look by which a client tells an authorisation server
// who it is (RFC 7523 §2.2).
type ClientAssertion struct {
	// MaxLifetime is how long one may live, at most max_token_lifetime. Left out: 5m, or
	// max_token_lifetime if that is less.
	MaxLifetime time.Duration `yaml:"max_lifetime"`
	// Typ of the header: JWT or client-authentication+jwt. Left out: JWT.
	Typ AssertionTyp `yaml:"typ"`
	// Audience is the form of aud: string, or array of one string. Left out: string.
	Audience AudienceForm `yaml:"audience"`
}

func (c *ClientAssertion) setDefaults() {
	*c = ClientAssertion{MaxLifetime: 5 * time.Minute, Typ: TypJWT, Audience: AudienceString}
}

// AssertionTyp is the typ of client assertions.
type AssertionTyp string

// The types of client assertions.
const (
	TypJWT                  AssertionTyp = "JWT"
	TypClientAuthentication AssertionTyp = "client-authentication+jwt"
)

// AudienceForm is how the one audience of a client assertion stands in aud (RFC 7519 §4.1.3).
type AudienceForm string

// The forms of aud.
const (
	AudienceString AudienceForm = "string"
	AudienceArray  AudienceForm = "array"
)

var (
	parameter = regexp.MustCompile(`^[A-Za-z0-9#._-]{1,64}$`)
	mediaType = regexp.MustCompile(`^(?i:application/)?[A-Za-z0-9!#$&^_.+-]{1,64}$`) // RFC 6838 §4.2
)

const aType = "must be a media type without parameters, as at+jwt, of at most 64 characters"

// checkHeader looks at what tokens and assertions say of themselves.
func (k *Keyset) checkHeader(src *source, keyset path) error {
	at := keyset.join("header")
	fixed := service.FixedParameters()
	for i, name := range k.Header.Allow {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		switch at := at.join("allow").item(i); {
		case !parameter.MatchString(name):
			return src.fail(at, `must be the name of a header parameter: letters, digits, "#" "-" "." "_", at most 64`)
		case same("typ"):
			return src.fail(at, "typ is always the caller's to set; types says to what")
		case slices.ContainsFunc(fixed, same):
			return src.fail(at, "names a parameter that is never the caller's to set; those are %s", join(fixed))
		case slices.ContainsFunc(k.Header.Allow[:i], same):
			return src.fail(at, "is given twice, in two spellings")
		}
	}
	for i, t := range k.Types {
		if !mediaType.MatchString(t) {
			return src.fail(keyset.join("types").item(i), aType)
		}
		if strings.TrimPrefix(strings.ToLower(t), "application/") == string(TypClientAuthentication) {
			return src.fail(keyset.join("types").item(i), "is the typ of client assertions, which operation client-assertion makes; no token has it")
		}
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"x5c", k.Header.X5C}, {"x5t#S256", k.Header.X5TS256}} {
		if f.set && !k.certified() {
			return src.fail(at.join(f.name), "the keys have no certificates; give them some, or leave it out")
		}
	}
	lifetime := keyset.join("client_assertion").join("max_lifetime")
	if own := k.ClientAssertion.MaxLifetime; src.has(lifetime) && k.MaxTokenLifetime > 0 && own > k.MaxTokenLifetime {
		return src.fail(lifetime, "%v is longer than max_token_lifetime %v", own, k.MaxTokenLifetime)
	}
	return nil
}

// certified reports whether keys that sign have certificates.
func (k *Keyset) certified() bool {
	for _, s := range k.Static {
		if s.Active != nil && len(s.Active.Chain) > 0 {
			return true
		}
	}
	return k.Certificate.Issuer != NoCertificate
}

// checkJKU tells whether there is an address of the JWKS that the world knows.
func (c *Config) checkJKU(src *source, name string) error {
	if !c.Keysets[name].Header.JKU || c.PublicURL != "" {
		return nil
	}
	return src.fail(root.join("keysets").join(name).join("header").join("jku"), "needs public_url, of which verifiers read the JWKS; give that, or leave jku out")
}
