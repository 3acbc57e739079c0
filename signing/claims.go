package signing

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
)

const (
	// MaxClaims is the longest claims set that is signed, in bytes as sent.
	MaxClaims = 64 << 10
	// maxNesting of objects and arrays in claims. Verifiers recurse; what no verifier can
	// read must not be signed.
	maxNesting = 64
)

// claimRules are what a keyset says of claims.
type claimRules struct {
	issuer      string
	anyIssuer   bool
	maxLifetime time.Duration
	// assertionLifetime is that of tokens that are client assertions, where iss is open.
	assertionLifetime time.Duration
}

// claimFacts are the claims that others want to know of.
type claimFacts struct {
	exp int64 // NumericDate, in seconds
	nbf int64 // 0 where there is none
	jti string
	// client is the one that the claims speak for as a client assertion does: iss and sub, which
	// are the same (RFC 7523 §3). Empty where they are not, and where iss is not open.
	client   string
	iss, sub string // where iss is open
}

// judgeClaims decides whether raw may be signed as a claims set. It is a pure function
// of its arguments; the error is a *v1.Error with a pointer below /claims.
func judgeClaims(raw []byte, rules claimRules, now time.Time) (claimFacts, error) {
	var facts claimFacts
	if len(raw) > MaxClaims {
		return facts, refuse(v1.TooLarge, "/claims", "the claims are %d bytes; at most %d are signed", len(raw), MaxClaims)
	}
	if kind := jsontext.Value(raw).Kind(); kind != '{' {
		return facts, badClaims("", "the claims must be a JSON object")
	}
	if nesting(raw) > maxNesting {
		return facts, badClaims("", "the claims are nested more than %d deep", maxNesting)
	}

	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if _, err := dec.ReadToken(); err != nil {
		return facts, malformedClaims(err)
	}
	seenExp := false
	names := make(memberNames, 8) // as many need no memory of their own
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return facts, malformedClaims(err)
		}
		name := token.String()
		if err := names.judge(name); err != nil {
			return facts, err
		}
		value, err := dec.ReadValue()
		if err != nil {
			return facts, malformedClaims(err)
		}
		if err := judgeClaim(name, value, rules, now, &facts); err != nil {
			return facts, err
		}
		if inexact(value) {
			return facts, badClaims("", "the claim %s has a number beyond ±%d, which verifiers would each make something else of (RFC 7493 §2.2); write it as a string", quote(name), maxExact)
		}
		seenExp = seenExp || name == "exp"
	}
	if _, err := dec.ReadToken(); err != nil {
		return facts, malformedClaims(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return facts, badClaims("", "the claims must be one JSON object with nothing after it")
	}
	if facts.nbf >= facts.exp && seenExp {
		return facts, badClaims("/nbf", "nbf %d is not before exp %d, so the token would never be valid", facts.nbf, facts.exp)
	}
	if !seenExp {
		return facts, badClaims("/exp", "the claims have no exp; give it as whole seconds since 1970 (RFC 7519 §4.1.4)")
	}
	if facts.iss != facts.sub || facts.iss == "" {
		return facts, nil
	}
	facts.client = facts.iss
	if limit := now.Add(rules.assertionLifetime).Unix(); facts.exp > limit {
		return facts, refuse(v1.LifetimeTooLong, "/claims/exp", "iss and sub are the same, which makes this a client assertion (RFC 7523 §3), and exp %d is %d seconds after the latest that the keyset allows for one, %d", facts.exp, facts.exp-limit, limit)
	}
	return facts, nil
}

func judgeClaim(name string, value jsontext.Value, rules claimRules, now time.Time, facts *claimFacts) error {
	switch name {
	case "exp":
		exp, ok := integer(value)
		if !ok || exp > maxExact {
			return notInteger(name)
		}
		facts.exp = exp
		if exp <= now.Unix() {
			return badClaims("/exp", "exp %d is not in the future; it is now %d", exp, now.Unix())
		}
		if limit := now.Add(rules.maxLifetime).Unix(); exp > limit {
			return refuse(v1.LifetimeTooLong, "/claims/exp", "exp %d is %d seconds after the latest allowed, %d: the keyset's max_token_lifetime is %v", exp, exp-limit, limit, rules.maxLifetime)
		}
	case "nbf", "iat":
		n, ok := integer(value)
		if !ok || n < 0 || n > maxExact {
			return notInteger(name)
		}
		if name == "nbf" {
			facts.nbf = n
		}
	case "iss":
		if value.Kind() != '"' {
			return badClaims("/iss", "iss must be a string")
		}
		if !rules.anyIssuer && !says(value, rules.issuer) {
			iss, _ := text(value)
			return refuse(v1.IssuerMismatch, "/claims/iss", "iss %s is not the keyset's issuer %q; leave iss out or make it equal", quote(iss), rules.issuer)
		}
		if rules.anyIssuer {
			facts.iss, _ = text(value)
		}
	case "sub", "jti":
		if value.Kind() != '"' {
			return badClaims("/"+name, "%s must be a string", name)
		}
		if name == "jti" {
			facts.jti, _ = text(value)
		} else if rules.anyIssuer {
			facts.sub, _ = text(value)
		}
	case "aud":
		if !audience(value) {
			return badClaims("/aud", "aud must be a string or an array of strings")
		}
	}
	return nil
}

func badClaims(pointer, format string, args ...any) error {
	return refuse(v1.BadClaims, "/claims"+pointer, format, args...)
}

func notInteger(name string) error {
	return badClaims("/"+name, "%s must be whole seconds since 1970, written as an integer from 0 to %d (2^53-1), which all verifiers read alike", name, maxExact)
}

func malformedClaims(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return badClaims("", "the claims are cut short")
	}
	return badClaims(Clip(string(syntax.JSONPointer)), "the claims are not valid JSON: %s", Clip(syntax.Error()))
}
