package config

import (
	"errors"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"keysetd.example/signing/policy"
)

func (s *source) decodeStruct(n ast.Node, v reflect.Value, at path) error {
	values, ok := entries(n)
	if !ok {
		if t, ok := v.Addr().Interface().(texter); ok {
			return s.failAt(startOf(n), at, "%s", t.ifText())
		}
		return s.failAt(startOf(n), at, "must have fields: %s", strings.Join(fields(v.Type()), ", "))
	}
	for _, kv := range values {
		key, _ := textOf(kv.Key)
		f, all, ok := field(v, key)
		switch {
		case !ok:
			return s.unknown(kv, key, v, at)
		case s.has(at.join(key)):
			return s.failAt(placeOf(kv.Key.GetToken()), at.join(key), "is given twice")
		}
		s.keys[at.join(key)] = placeOf(kv.Key.GetToken())
		if err := s.decode(kv.Value, f, at.join(key), all); err != nil {
			return err
		}
	}
	return nil
}

// unknown is the error about a key that is no field. The key is repeated only where it
// cannot be a secret that lost its ":" or its place.
func (s *source) unknown(kv *ast.MappingValueNode, key string, v reflect.Value, at path) error {
	where := placeOf(kv.Key.GetToken())
	if l, ok := v.Addr().Interface().(laterer); ok && l.later()[key] != "" {
		return s.failAt(where, at.join(key), "%s", l.later()[key])
	}
	if key == "pin" {
		return s.failAt(where, at.join(key), "does not belong here, but under token; %s", (*PIN)(nil).ifText())
	}
	if t, ok := v.Addr().Interface().(texter); ok {
		return s.failAt(where, at, "has a field that does not belong here; the fields are %s; %s", strings.Join(fields(v.Type()), ", "), t.ifText())
	}
	if _, null := kv.Value.(*ast.NullNode); null || !fieldLike.MatchString(key) || len(key) > 40 {
		return s.failAt(where, at, "has a field that does not belong here; the fields are %s", strings.Join(fields(v.Type()), ", "))
	}
	return s.failAt(where, at.join(key), "is not a field; the fields here are %s", strings.Join(fields(v.Type()), ", "))
}

func (s *source) decodeMap(n ast.Node, v reflect.Value, at path) error {
	values, ok := entries(n)
	if !ok {
		return s.failAt(startOf(n), at, "must be entries of the form NAME: VALUE")
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, kv := range values {
		key, ok := textOf(kv.Key)
		where := placeOf(kv.Key.GetToken())
		if !ok {
			return s.failAt(where, at, "has a name that is not text; put it in quotes")
		}
		name, err := mapKey(key, v.Type())
		switch {
		case err != nil:
			return s.failAt(where, at, "has a name that is none; a name %v", err)
		case s.has(at.join(key)):
			return s.failAt(where, at.join(key), "is given twice")
		}
		s.keys[at.join(key)] = where
		elem := reflect.New(v.Type().Elem()).Elem()
		defaults(elem)
		if text, ok := textOf(kv.Value); ok && text == "" && elem.Kind() == reflect.String { // a variable may be set to nothing
			v.SetMapIndex(name, elem)
			continue
		}
		if err := s.decode(kv.Value, elem, at.join(key), false); err != nil {
			return err
		}
		v.SetMapIndex(name, elem)
	}
	return nil
}

// mapKey reads a name in a map of type t. The error does not repeat it.
func mapKey(text string, t reflect.Type) (reflect.Value, error) {
	if t.Key() != reflect.TypeFor[string]() {
		key, err := scalars[t.Key()].parse(text)
		return reflect.ValueOf(key), err
	}
	allowed, rule := name, `letters, digits, "." "_" "-", beginning with a letter or digit, at most 63`
	if t.Elem().Kind() == reflect.String {
		allowed, rule = variableName, `letters, digits and "_", as environment variables have`
	}
	if !allowed.MatchString(text) {
		return reflect.Value{}, errors.New("is of " + rule)
	}
	return reflect.ValueOf(text), nil
}

// decodeList reads a list of different items.
func (s *source) decodeList(n ast.Node, v reflect.Value, at path, all bool) error {
	if text, ok := textOf(n); ok && all && text == policy.All {
		v.Set(reflect.Append(v, reflect.ValueOf(policy.All).Convert(v.Type().Elem())))
		return nil
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return s.failAt(startOf(n), at, "must be a list, as in [a, b]")
	}
	if len(seq.Values) == 0 {
		return s.fail(at, "is an empty list; name something or leave it out")
	}
	for i, item := range seq.Values {
		s.keys[at.item(i)] = placeOf(item.GetToken())
		elem := reflect.New(v.Type().Elem()).Elem()
		if text, ok := textOf(item); ok && all && text == policy.All {
			if len(seq.Values) > 1 {
				return s.failAt(startOf(item), at, `has "*" beside others; "*" alone stands for all`)
			}
			elem.SetString(policy.All)
		} else if err := s.decode(item, elem, at.item(i), false); err != nil {
			return err
		}
		for j := range v.Len() {
			if v.Index(j).Equal(elem) {
				return s.failAt(startOf(item), at.item(i), "is the same as %s", at.item(j))
			}
		}
		v.Set(reflect.Append(v, elem))
	}
	return nil
}
