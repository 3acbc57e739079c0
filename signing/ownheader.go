package signing

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
)

// ownHeader is what the header of every token of a key carries, whoever asks for it. Members come
// in one order always, so that the same request gives the same bytes for ever: alg, kid, typ,
// x5c, x5t#S256, jku, then the caller's by name.
type ownHeader struct {
	head string // up to typ: {"alg":"ES256","kid":"…"
	tail string // from x5c to jku, each with a comma before it
	// values are the members of tail, for the callers that write them themselves.
	values map[string]jsontext.Value
	plain  jwsHeader // with typ JWT and nothing of the caller's
}

// jwsHeader is the header of a token as it is signed.
type jwsHeader struct {
	raw     []byte // JSON
	encoded string // the first segment of the JWS
}

func newOwnHeader(alg jose.SignatureAlgorithm, kid string, s HeaderSettings, chain [][]byte) ownHeader {
	own := ownHeader{values: map[string]jsontext.Value{}}
	head := []byte(`{"alg":"` + string(alg) + `"`)
	if !s.NoKID {
		head = append(head, `,"kid":`...)
		head, _ = jsontext.AppendQuote(head, kid) // NewState refuses a kid that is not UTF-8
	}
	own.head = string(head)
	if s.X5C && len(chain) > 0 {
		x5c := jsontext.Value(`[`)
		for i, certificate := range chain {
			if i > 0 {
				x5c = append(x5c, ',')
			}
			x5c = append(x5c, `"`+base64.StdEncoding.EncodeToString(certificate)+`"`...)
		}
		own.add("x5c", append(x5c, ']'))
	}
	if s.X5TS256 && len(chain) > 0 {
		sum := sha256.Sum256(chain[0])
		own.add("x5t#S256", jsontext.Value(`"`+base64.RawURLEncoding.EncodeToString(sum[:])+`"`))
	}
	if s.JKU != "" {
		jku, _ := jsontext.AppendQuote(nil, s.JKU) // UTF-8, too
		own.add("jku", jku)
	}
	own.plain = own.compose(defaultTyp, nil)
	return own
}

func (o *ownHeader) add(name string, value jsontext.Value) {
	o.tail += `,"` + name + `":` + string(value)
	o.values[name] = value
}

// with is the header for what a caller asks.
func (o *ownHeader) with(asked askedHeader) jwsHeader {
	if asked.typ == defaultTyp && len(asked.more) == 0 {
		return o.plain
	}
	return o.compose(asked.typ, asked.more)
}

// compose puts a header together; no character of typ needs escaping (judgeTyp).
func (o *ownHeader) compose(typ string, more []byte) jwsHeader {
	raw := make([]byte, 0, len(o.head)+len(`,"typ":""`)+len(typ)+len(o.tail)+len(more)+1)
	raw = append(raw, o.head...)
	raw = append(raw, `,"typ":"`...)
	raw = append(raw, typ...)
	raw = append(raw, '"')
	raw = append(raw, o.tail...)
	raw = append(raw, more...)
	raw = append(raw, '}')
	return jwsHeader{raw, base64.RawURLEncoding.EncodeToString(raw)}
}

// carries reports whether value says what the key's own header says under this name, however it is
// spelled.
func (o *ownHeader) carries(name string, value jsontext.Value) bool {
	own, has := o.values[name]
	return has && canonicalJSON(value) == canonicalJSON(own)
}

// canonicalJSON is the one spelling of v (RFC 8785).
func canonicalJSON(v jsontext.Value) string {
	v = v.Clone()
	if v.Canonicalize() != nil {
		return ""
	}
	return string(v)
}
