package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// facts are what limits on tokens look at. They are read once for a request, and only if
// some rule looks at them.
type facts struct {
	done      bool
	err       error
	variables map[string]any // of expressions
	claims    map[string]any
}

func (f *facts) read(c Caller, r Request) error {
	if f.done {
		return f.err
	}
	f.done = true
	var header map[string]any
	if f.claims, f.err = object(r.Claims); f.err != nil {
		f.err = fmt.Errorf("it has limits for the claims, and these %w", f.err)
		return f.err
	}
	if header, f.err = object(r.Header); f.err != nil {
		f.err = fmt.Errorf("it has limits for the header, and this one %w", f.err)
		return f.err
	}
	groups := make([]int64, 0, len(c.Groups))
	for _, g := range c.Groups {
		groups = append(groups, int64(g))
	}
	f.variables = map[string]any{
		"claims": f.claims,
		"header": header,
		"caller": map[string]any{"uid": int64(c.UID), "gid": int64(c.GID), "pid": int64(c.PID), "groups": groups},
		"now":    r.Now.Unix(),
	}
	return nil
}

// meantFor reports whether aud (RFC 7519 §4.1.3) names some audience, and none outside of the set.
func (f *facts) meantFor(audiences map[string]struct{}) bool {
	switch aud := f.claims["aud"].(type) {
	case string:
		return in(audiences, aud)
	case []any:
		for _, a := range aud {
			if s, ok := a.(string); !ok || !in(audiences, s) {
				return false
			}
		}
		return len(aud) > 0
	}
	return false
}

var errMalformed = errors.New("are no JSON object with distinct names")

// object reads a JSON object. Numbers that are whole and fit are int64, however they are
// written; others are float64. The errors repeat nothing of it.
func object(raw []byte) (map[string]any, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw)) // refuses names given twice, and nesting beyond 10,000
	if dec.PeekKind() != '{' {
		return nil, errMalformed
	}
	v, err := value(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	return v.(map[string]any), nil
}

func value(dec *jsontext.Decoder) (any, error) {
	t, err := dec.ReadToken()
	if err != nil {
		return nil, errMalformed
	}
	switch t.Kind() {
	case '{':
		m := make(map[string]any)
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, errMalformed
			}
			key := name.String()
			if m[key], err = value(dec); err != nil {
				return nil, err
			}
		}
		_, err = dec.ReadToken()
		return m, err
	case '[':
		l := []any{}
		for dec.PeekKind() != ']' {
			v, err := value(dec)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err = dec.ReadToken()
		return l, err
	case '"':
		return t.String(), nil
	case '0':
		return number(t.String())
	case 'n':
		return nil, nil
	default:
		return t.Bool(), nil
	}
}

// number reads a JSON number (RFC 8259 §6): exactly, where it is whole and fits an int64.
func number(s string) (any, error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimRight(whole+fraction, "0")
	const most = 19 // digits of an int64
	if strings.Trim(digits, "-") == "" {
		return int64(0), nil
	}
	if e, err := strconv.Atoi(cmp.Or(exponent, "0")); err == nil {
		zeros := e + len(whole) - len(digits)
		if zeros >= 0 && zeros <= most {
			if i, err := strconv.ParseInt(digits+strings.Repeat("0", zeros), 10, 64); err == nil {
				return i, nil
			}
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, errors.New("have a number that no double holds")
	}
	return f, nil
}
