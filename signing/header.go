package signing

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
)

const (
	// defaultTyp is the media type of a token whose caller names none (RFC 7519 §5.1).
	defaultTyp = "JWT"
	// maxTyp bounds typ, in characters; the longest registered ones are half as long.
	maxTyp = 64
	// maxAllowed is the longest name that the configuration lets callers set.
	maxAllowed = 64
)

// askedHeader is what a caller asks for in the header.
type askedHeader struct {
	typ  string // "" where it names none
	more []byte // the other members, by name, each with a comma before it
}

// judge decides whether a caller may set these header parameters. Errors point at /header or
// below it.
func (s HeaderSettings) judge(parameters map[string]jsontext.Value) (askedHeader, error) {
	var asked askedHeader
	if len(parameters) == 0 { // as nearly always
		return asked, nil
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(parameters)) { // sorted: the same fault is named each time
		value := parameters[name]
		if name == "typ" {
			typ, ok := text(value)
			if !ok {
				return asked, refuse(v1.BadHeader, "/header/typ", "typ must be a string")
			}
			if err := judgeTyp(typ); err != nil {
				return asked, err
			}
			asked.typ = typ
			continue
		}
		if !slices.Contains(s.Allow, name) {
			return asked, refuse(v1.BadHeader, headerPointer(name), "the header parameter %s is not the caller's to set; callers of this keyset set %s%s", quote(name), s.parameters(), allowable(name))
		}
		if size += len(name) + len(value); size > maxMore {
			return asked, refuse(v1.TooLarge, "/header", "the header parameters are more than the %d bytes that callers may set", maxMore)
		}
		if err := judgeParameter(name, value); err != nil {
			return asked, err
		}
		asked.more = append(asked.more, ',')
		asked.more, _ = jsontext.AppendQuote(asked.more, name) // an allowed name is UTF-8
		asked.more = append(asked.more, ':')
		value = value.Clone()
		if err := value.Compact(); err != nil {
			return asked, internal(err) // it is valid
		}
		asked.more = append(asked.more, value...)
	}
	return asked, nil
}

// headerPointer points at a header parameter (RFC 6901).
func headerPointer(name string) string {
	return string(jsontext.Pointer("/header").AppendToken(Clip(name)))
}

// allowable says what can be done about a parameter that callers may not set, if anything can.
func allowable(name string) string {
	if len(name) > maxAllowed || (HeaderSettings{Allow: []string{name}}).check() != nil {
		return ""
	}
	return "; the administrator may add it to header.allow"
}

// judgeParameter holds a value to what every verifier reads alike.
func judgeParameter(name string, value jsontext.Value) error {
	switch {
	case nesting(value) > maxNesting:
		return refuse(v1.BadHeader, headerPointer(name), "the header parameter %s is nested more than %d deep", quote(name), maxNesting)
	case !value.IsValid(): // duplicate names and bad UTF-8 included
		return refuse(v1.BadHeader, headerPointer(name), "the header parameter %s is not valid JSON", quote(name))
	case inexact(value):
		return refuse(v1.BadHeader, headerPointer(name), "the header parameter %s has a number beyond ±%d, which verifiers would each make something else of (RFC 7493 §2.2); write it as a string", quote(name), maxExact)
	}
	return nil
}

// judgeTaken decides whether the keyset takes a token of this typ; "" stands for none. No keyset
// takes that of client assertions, which are made by an operation of their own.
func (s HeaderSettings) judgeTaken(typ string) error {
	if sameType(typ, assertionTypOwn) {
		return refuse(v1.BadHeader, "/header/typ", "typ %s is that of client assertions; ask for one by operation client-assertion", quote(typ))
	}
	if s.takes(typ) {
		return nil
	}
	return refuse(v1.BadHeader, "/header/typ", "typ %s is none of those that the keyset takes: %s", quote(typ), strings.Join(s.Types, ", "))
}

// judgeTyp holds typ to the characters of a media type (RFC 6838 §4.2), with or without
// "application/" before it. None of them needs escaping in JSON.
func judgeTyp(typ string) error {
	name := mediaType(typ)
	if name == "" || len(typ) > maxTyp {
		return refuse(v1.BadHeader, "/header/typ", "typ must have 1 to %d characters", maxTyp)
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$&-^_.+", c)) {
			return refuse(v1.BadHeader, "/header/typ", "typ %s has a character that no media type has", quote(typ))
		}
	}
	return nil
}
