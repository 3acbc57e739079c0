package signing

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// integer takes a JSON number without fraction or exponent that fits an int64. 1.0 and
// 1e9 are refused as 1.5 and 1e400 are: what a verifier makes of them is its own affair.
func integer(v jsontext.Value) (int64, bool) {
	if v.Kind() != '0' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}

func text(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	if bytes.IndexByte(v, '\\') < 0 { // as nearly always: nothing to unescape
		return string(v[1 : len(v)-1]), true
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}

// says reports whether v is the string s.
func says(v jsontext.Value, s string) bool {
	if v.Kind() != '"' {
		return false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1:len(v)-1]) == s // compared without a copy
	}
	said, ok := text(v)
	return ok && said == s
}

func audience(v jsontext.Value) bool {
	if v.Kind() == '"' {
		return true
	}
	if v.Kind() != '[' {
		return false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(v))
	for range 1 + len(v) { // more tokens than bytes there cannot be
		token, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return false
		}
		if k := token.Kind(); dec.StackDepth() > 1 || dec.StackDepth() == 1 && k != '[' && k != '"' {
			return false
		}
	}
	return false
}

// nesting is how deep objects and arrays are nested in raw, which need not be valid JSON.
func nesting(raw []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		case '"':
			i = endOfString(raw, i)
		}
	}
	return deepest
}

// maxExact is the greatest whole number of which all verifiers make the same: beyond it a double
// stands for several (RFC 7493 §2.2, RFC 8259 §6).
const maxExact = 1<<53 - 1

// inexact reports whether raw, which need not be valid JSON, has a number beyond ±maxExact, however
// it is written. The policy reads whole numbers exactly, and many verifiers read all as doubles: what
// one judged must be what the others read. (A number with a fraction is a double to the policy, too.)
func inexact(raw []byte) bool {
	const numeric = "+-.0123456789eE"
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			i = endOfString(raw, i)
		case c == '-' || c >= '0' && c <= '9':
			start := i
			for i < len(raw) && strings.IndexByte(numeric, raw[i]) >= 0 {
				i++
			}
			if f, _ := strconv.ParseFloat(string(raw[start:i]), 64); math.Abs(f) > maxExact { // infinite, where no double holds it
				return true
			}
			i--
		}
	}
	return false
}

// endOfString returns where the string that begins at raw[i] ends: at its closing quote, or
// at the end of raw.
func endOfString(raw []byte, i int) int {
	for i++; i < len(raw) && raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i
}
