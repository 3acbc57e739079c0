package jwe

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// strict refuses bits beyond the last byte, so that a message has one encoding only.
var strict = base64.RawURLEncoding.Strict()

// Parse takes a compact JWE apart. Its errors wrap ErrMalformed.
func Parse(compact string) (*Message, error) {
	if len(compact) > MaxMessage {
		return nil, malformed("it has %d bytes, more than %d", len(compact), MaxMessage)
	}
	if n := strings.Count(compact, ".") + 1; n != 5 {
		return nil, malformed("it has %d parts; the compact form has 5", n)
	}
	parts := strings.Split(compact, ".")
	if len(parts[0]) > strict.EncodedLen(MaxHeader) {
		return nil, malformed("its header is longer than %d bytes", MaxHeader)
	}
	var decoded [5][]byte
	for i, name := range []string{"header", "encrypted key", "initialization vector", "ciphertext", "authentication tag"} {
		var err error
		if decoded[i], err = decode(parts[i]); err != nil {
			return nil, malformed("its %s is not base64url without padding (RFC 7515 §2)", name)
		}
	}
	m, err := ParseHeader(decoded[0], decoded[1])
	if err != nil {
		return nil, err
	}
	iv, ciphertext, tag := decoded[2], decoded[3], decoded[4]
	switch {
	case len(iv) != m.enc.iv:
		return nil, malformed("its initialization vector has %d bytes; %s has %d", len(iv), m.enc.name, m.enc.iv)
	case len(tag) != m.enc.tag:
		return nil, malformed("its authentication tag has %d bytes; %s has %d", len(tag), m.enc.name, m.enc.tag)
	case m.enc.block != 0 && (len(ciphertext) == 0 || len(ciphertext)%m.enc.block != 0):
		return nil, malformed("its ciphertext has %d bytes; that of %s is a multiple of %d and not empty", len(ciphertext), m.enc.name, m.enc.block)
	}
	m.content = &content{iv: iv, sealed: append(ciphertext, tag...), aad: []byte(parts[0])}
	return m, nil
}

// ParseHeader takes the two parts that hold the content encryption key: the protected header
// as JSON and the encrypted key. The Message has a Key, but nothing to Open. Its errors wrap
// ErrMalformed.
func ParseHeader(header, encryptedKey []byte) (*Message, error) {
	m, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	switch n, want := len(encryptedKey), m.enc.key+wrapOverhead; {
	case m.alg.isRSA() && n == 0:
		return nil, malformed("it has no encrypted key; %s has one", m.alg.name)
	case m.alg.isRSA(): // as long as the modulus of a key that is not known here
	case m.alg.kek == 0 && n != 0:
		return nil, malformed("it has an encrypted key; with %s it is empty (RFC 7516 §5.2)", m.alg.name)
	case m.alg.kek != 0 && n != want:
		return nil, malformed("its encrypted key has %d bytes; with %s and %s it has %d", n, m.alg.name, m.enc.name, want)
	}
	m.encryptedKey = bytes.Clone(encryptedKey)
	return m, nil
}

// decode decodes base64url. The line breaks that encoding/base64 skips are no part of it.
func decode(s string) ([]byte, error) {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	return strict.DecodeString(s)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
