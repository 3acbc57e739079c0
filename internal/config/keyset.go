package config

import (
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// Keyset is a named set of keys with one policy.
type Keyset struct {
	// Purpose is jwt, raw or any: what the keyset signs; or enc: it decrypts. Required.
	Purpose Purpose `yaml:"purpose"`
	// Issuer of the tokens: the iss of claims that carry one must equal it. A text, or a URI
	// if it has a colon (RFC 7519 §2). Required for jwt and any, unless any_issuer is true;
	// raw and enc keysets have none.
	Issuer string `yaml:"issuer"`
	// AnyIssuer lets claims carry any iss; one that is sub as well needs a grant of client-assertion
	// for that client id. Left out: false.
	AnyIssuer bool `yaml:"any_issuer"`
	// Mode is dynamic: keysetd makes and rotates the keys; or static: the administrator names
	// keys that are on the token. Left out: dynamic.
	Mode Mode `yaml:"mode"`
	// Token that the keys are made on, or are on, by name. Left out: default, or the only one
	// there is.
	Token string `yaml:"token"`
	// Keys are the key specs of each generation, one key for each; not ed25519 where they
	// decrypt. Required for dynamic; static keysets have none.
	Keys []keyspec.Spec `yaml:"keys"`
	// Static are the administrator's keys, by type; at least one of them active. Required for
	// static; dynamic keysets have none.
	Static map[rotation.KeyType]StaticKey `yaml:"static"`
	// DefaultAlgorithm signs where a request names none. Left out: the only
	// algorithm that the keys have, else every request names one. Enc keysets have none.
	DefaultAlgorithm jose.SignatureAlgorithm `yaml:"default_algorithm"`
	// Rotation says when keys are replaced. Left out: every 12 hours; see its fields.
	Rotation Rotation `yaml:"rotation"`
	// MaxTokenLifetime is how far ahead the exp of a token may lie. Left out: the period or
	// retain less clock_skew, whichever is shorter, with 12h for the period where that is manual
	// or the keys are static. Raw and enc keysets have none.
	MaxTokenLifetime time.Duration `yaml:"max_token_lifetime"`
	// Header says what stands in the headers of tokens and assertions. Left out: see its fields. Raw
	// and enc keysets have none.
	Header Header `yaml:"header"`
	// Types are the typ values that tokens may have: media types, in any case, with or without
	// "application/" (RFC 7515 §4.1.9), as JWT, at+jwt (RFC 9068), oauth-authz-req+jwt (RFC 9101).
	// Left out: any. Raw and enc keysets have none.
	Types []string `yaml:"types"`
	// ClientAssertion says how client assertions look. Left out: see its fields. Raw and enc
	// keysets have none.
	ClientAssertion ClientAssertion `yaml:"client_assertion"`
	// MaxMessageAge is how old a message may be that is to be decrypted. Required for enc;
	// others have none.
	MaxMessageAge time.Duration `yaml:"max_message_age"`
	// Publish says how the JWKS is published. Left out: see its fields.
	Publish Publish `yaml:"publish"`
	// Certificate says what certificates the keys have. Left out: none, and no x5c. Static
	// keysets have none; each of their keys may have a chain.
	Certificate Certificate `yaml:"certificate"`
	// Discovery has the keyset's discovery document served below public_url. Left out: there is none.
	Discovery *Discovery `yaml:"discovery"`
}

func (k *Keyset) setDefaults() { k.Mode = Dynamic }

// Purpose is what a keyset does with its keys.
type Purpose string

// The purposes.
const (
	JWT Purpose = "jwt" // signs tokens, whose claims the daemon sees and checks
	Raw Purpose = "raw" // signs payloads and digests
	Any Purpose = "any" // signs both
	Enc Purpose = "enc" // decrypts
)

// Mode says who makes the keys.
type Mode string

// The modes.
const (
	Dynamic Mode = "dynamic" // keysetd makes and rotates them
	Static  Mode = "static"  // the administrator does, and names them
)

// Rotation says when keys are replaced, by the clock and by hand. Relations between these,
// max_age and max_message_age are checked, see rotation.Policy.Validate.
type Rotation struct {
	// Period is how long a generation is active, or manual: until an operator rotates.
	// Left out: 12h. Static keysets have none.
	Period Period `yaml:"period"`
	// Lead is how long what is new must have been published before it may sign, at most
	// the period. Left out: the period, or 12h if that is manual or the keys are static. Enc
	// keysets have none: their keys are published when they become active.
	Lead time.Duration `yaml:"lead"`
	// Retain is how long a generation stays published after it signed last, at least, or goes
	// on decrypting; or until-revoked. Left out: the period, or 12h if that is manual or the
	// keys are static.
	Retain Retain `yaml:"retain"`
	// ClockSkew is how far the clocks of verifiers may be off. Left out: a tenth of lead (of the
	// period, where there is none), at most 30s.
	ClockSkew time.Duration `yaml:"clock_skew"`
	// VerifierCache is how much longer than max_age verifiers keep a JWKS. Left out: no
	// longer.
	VerifierCache time.Duration `yaml:"verifier_cache"`
	// MaxFreeze is how long an operator may hold back what the clock would do. Left out: 7d.
	MaxFreeze time.Duration `yaml:"max_freeze"`
	// ManualPerDay is how many rotations by hand a day allows in the long run, 1 to 86400. Left
	// out: 5.
	ManualPerDay int `yaml:"manual_per_day"`
	// ManualBurst is how many of them may follow each other at once, 1 to 86400. Left out: 5.
	ManualBurst int `yaml:"manual_burst"`
}

// Period is a duration, or manual.
type Period struct {
	Duration time.Duration // 0: left out, or manual
	Manual   bool
}

// Retain is a duration, or until-revoked.
type Retain struct {
	Duration     time.Duration // 0: left out, or until-revoked
	UntilRevoked bool
}

// Publish says how the JWKS is published.
type Publish struct {
	// MaxAge of the JWKS in caches (RFC 9111 §5.2.2.1), in whole seconds. Left out: half of
	// what lead (the period, where there is none) leaves after clock_skew and verifier_cache, at
	// most 5m.
	MaxAge time.Duration `yaml:"max_age"`
	// Algorithms for which an RSA key is published again, each time with that alg and a kid
	// of its own. Left out: once, without alg. Enc keysets have none.
	Algorithms []jose.SignatureAlgorithm `yaml:"algorithms"`
	// X5T adds x5t, the SHA-1 thumbprint of the certificate, beside x5t#S256. Left out: true.
	X5T bool `yaml:"x5t"`
}

func (p *Publish) setDefaults() { p.X5T = true }
