package jwe

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// refused are the parameters that change what a message means in ways that this package does
// not follow (RFC 7516 §4.1.3 and §4.1.13, RFC 7518 §4.8.1).
var refused = []string{"crit", "zip", "p2c", "p2s"}

// parseHeader judges a protected header. Parameters that are not about the keys are whoever's who reads
// the plaintext.
func parseHeader(header []byte) (*Message, error) {
	if len(header) > MaxHeader {
		return nil, malformed("its header has %d bytes, more than %d", len(header), MaxHeader)
	}
	if jsontext.Value(header).Kind() != '{' {
		return nil, malformed("its header is not a JSON object")
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(header, &members); err != nil {
		return nil, malformed("its header is not a JSON object with each member once, in UTF-8")
	}
	for _, name := range refused {
		if _, has := members[name]; has {
			return nil, malformed("its header has %s, which keysetd does not take; encrypt without it", name)
		}
	}
	m := &Message{header: bytes.Clone(header)}
	var alg, enc string
	for _, p := range []struct {
		name string
		into *string
	}{{"alg", &alg}, {"enc", &enc}, {"kid", &m.kid}} {
		value, has := members[p.name]
		if !has {
			continue
		}
		var ok bool
		if *p.into, ok = text(value); !ok {
			return nil, malformed("its header's %s is not a string", p.name)
		}
	}
	i := slices.IndexFunc(keyAlgorithms, func(a keyAlgorithm) bool { return string(a.name) == alg })
	if i < 0 {
		return nil, malformed("its alg is none of RSA-OAEP, RSA-OAEP-256, ECDH-ES, ECDH-ES+A128KW and ECDH-ES+A256KW")
	}
	j := slices.IndexFunc(contentEncryptions, func(e contentEncryption) bool { return string(e.name) == enc })
	if j < 0 {
		return nil, malformed("its enc is none of A128GCM, A256GCM, A128CBC-HS256 and A256CBC-HS512")
	}
	m.alg, m.enc = keyAlgorithms[i], contentEncryptions[j]
	if m.alg.isRSA() {
		return m, nil
	}
	var err error
	m.agreement, err = parseAgreement(members)
	return m, err
}

// text returns a JSON string's value.
func text(value jsontext.Value) (s string, ok bool) {
	if value.Kind() != '"' {
		return "", false
	}
	return s, json.Unmarshal(value, &s) == nil
}
