package signing

import (
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
)

const (
	// defaultTyp is the media type of a token whose caller names none (RFC 7519 §5.1).
	defaultTyp = "JWT"
	// maxTyp bounds typ, in characters; the longest registered ones are half as long.
	maxTyp = 64
)

// protected returns the first segment of a JWS: the header with its members in this
// order always, so that one key and typ give the same bytes for ever.
func protected(alg jose.SignatureAlgorithm, kid, typ string) string {
	b := []byte(`{"alg":"` + string(alg) + `","kid":`)
	b, _ = jsontext.AppendQuote(b, kid) // NewState refuses a kid that is not UTF-8
	b = append(b, `,"typ":"`+typ+`"}`...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// callerTyp returns the typ that the caller's header asks for. Every other parameter is
// refused by name: alg and kid are the keyset's to choose, and crit, b64, jku, jwk, x5u
// and x5c change what a verifier believes (RFC 8725 §3.10).
func callerTyp(header map[string]jsontext.Value) (string, error) {
	if len(header) == 0 {
		return defaultTyp, nil
	}
	for _, name := range slices.Sorted(maps.Keys(header)) { // sorted: the same fault is named each time
		if name != "typ" {
			return "", refuse(v1.BadHeader, "/header", "the header parameter %s is not the caller's to set; only typ is", quote(name))
		}
	}
	typ, ok := text(header["typ"])
	if !ok {
		return "", refuse(v1.BadHeader, "/header/typ", "typ must be a string")
	}
	return typ, judgeTyp(typ)
}

// judgeTyp holds typ to the characters of a media type (RFC 6838 §4.2), with or without
// "application/" before it. None of them needs escaping in JSON.
func judgeTyp(typ string) error {
	name := strings.TrimPrefix(typ, "application/")
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

// protectedHeader is the header of a signing input. The caller composed it, so it is
// held to what keysetd itself writes.
type protectedHeader struct {
	alg, kid string
}

func parseProtected(raw []byte) (h protectedHeader, err error) {
	var members struct {
		Alg jsontext.Value `json:"alg"`
		KID jsontext.Value `json:"kid"`
		Typ jsontext.Value `json:"typ"`
	}
	if jsontext.Value(raw).Kind() != '{' {
		return h, badInput("the header is not a JSON object")
	}
	if err := json.Unmarshal(raw, &members, json.RejectUnknownMembers(true)); err != nil {
		var semantic *json.SemanticError
		if !errors.As(err, &semantic) {
			return h, badInput("the header is not valid JSON: %s", Clip(err.Error()))
		}
		return h, refuse(v1.BadHeader, "/signing_input", "the header parameter %s is not the caller's to set; a signing input has alg, kid and typ",
			quote(semantic.JSONPointer.LastToken()))
	}
	if h.alg, err = parameter("alg", members.Alg); err != nil {
		return h, err
	}
	if members.Alg == nil {
		return h, badInput("the header has no alg")
	}
	if h.kid, err = parameter("kid", members.KID); err != nil {
		return h, err
	}
	if members.KID == nil {
		return h, badInput("the header has no kid; verifiers of a set with several keys need it")
	}
	typ, err := parameter("typ", members.Typ)
	if err == nil && members.Typ != nil {
		err = judgeTyp(typ)
	}
	return h, err
}

// parameter is a header parameter's value, "" where it is not there. null is no string.
func parameter(name string, v jsontext.Value) (string, error) {
	if v == nil {
		return "", nil
	}
	s, ok := text(v)
	if !ok {
		return "", refuse(v1.BadHeader, "/signing_input", "the header parameter %q must be a string", name)
	}
	return s, nil
}
