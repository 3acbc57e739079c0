package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// facts are what limits on tokens look at. They are read once for a request, and only if
// some rule looks at them.
type facts struct {
	done      bool
	err       error
	inexact   error          // why no expression may look at them; the claims' aud is right all the same
	variables map[string]any // of expressions
	claims    map[string]any
	until     time.Time // when all expressions together must be done
}

func (f *facts) read(c Caller, r Request) error {
	if f.done {
		return f.err
	}
	f.done, f.until = true, time.Now().Add(maxTime)
	var err error
	if f.claims, err = object(r.Claims); err != nil {
		err = fmt.Errorf("it has limits for the claims, and these %w", err)
	}
	header, headerErr := object(r.Header)
	if err == nil && headerErr != nil {
		err = fmt.Errorf("it has limits for the header, and its members %w", headerErr)
	}
	if f.claims == nil || header == nil {
		f.err = err
		return f.err
	}
	f.inexact = err
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

// audience tells what aud a token has that is not meant for whom it must be.
func (f *facts) audience() string {
	switch aud := f.claims["aud"].(type) {
	case string:
		return "has " + shownValue(aud)
	case []any:
		var all []string
		for _, a := range aud {
			s, ok := a.(string)
			if !ok {
				return "has an aud that is neither a string nor a list of strings"
			}
			all = append(all, s)
		}
		if len(all) == 0 {
			return "has an empty aud"
		}
		return "has " + shown(all)
	case nil:
		return "has no aud"
	}
	return "has an aud that is neither a string nor a list of strings"
}

var (
	errMalformed = errors.New("are no JSON object with distinct names")
	// errInexact goes with what object returns: all but its numbers can be relied on.
	errInexact = errors.New("have a number that verifiers may read as another: whole and beyond 2^53, or with more digits than a double holds; give it as a string")
)

// object reads a JSON object; for its numbers see number. Where the error is errInexact the object is
// there, without the numbers that are not ok. The errors repeat nothing of it.
func object(raw []byte) (map[string]any, error) {
	r := reader{dec: jsontext.NewDecoder(bytes.NewBuffer(raw))} // refuses names given twice, and nesting beyond 10,000
	if r.dec.PeekKind() != '{' {
		return nil, errMalformed
	}
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	if r.inexact {
		err = errInexact
	}
	return v.(map[string]any), err
}

type reader struct {
	dec     *jsontext.Decoder
	inexact bool // some number is not ok
}

func (r *reader) value() (any, error) {
	t, err := r.dec.ReadToken()
	if err != nil {
		return nil, errMalformed
	}
	switch t.Kind() {
	case '{':
		m := make(map[string]any)
		for r.dec.PeekKind() != '}' {
			name, err := r.dec.ReadToken()
			if err != nil {
				return nil, errMalformed
			}
			key := name.String()
			if m[key], err = r.value(); err != nil {
				return nil, err
			}
		}
		_, err = r.dec.ReadToken()
		return m, err
	case '[':
		l := []any{}
		for r.dec.PeekKind() != ']' {
			v, err := r.value()
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err = r.dec.ReadToken()
		return l, err
	case '"':
		return t.String(), nil
	case '0':
		n, ok := number(t.String())
		r.inexact = r.inexact || !ok
		return n, nil
	case 'n':
		return nil, nil
	default:
		return t.Bool(), nil
	}
}
