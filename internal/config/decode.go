package config

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// What a type of the configuration may say of itself.
type (
	// defaulter fills in what is left out, before the file is read into it.
	defaulter interface{ setDefaults() }
	// texter says what to do where text stands in place of its fields.
	texter interface{ ifText() string }
	// laterer names fields that this version refuses, and says why.
	laterer interface{ later() map[string]string }
)

var (
	// name of a keyset, a token or a caller: it stands in paths, URLs, labels and metrics.
	name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	// fieldLike is an unknown key that is surely a mistyped field and no secret.
	fieldLike = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
)

// decodeInto reads a document into a struct.
func (s *source) decodeInto(n ast.Node, into any) error {
	v := reflect.ValueOf(into).Elem()
	defaults(v)
	return s.decode(n, v, root, false)
}

func defaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		defaults(v.Field(i))
	}
	if d, ok := v.Addr().Interface().(defaulter); ok {
		d.setDefaults()
	}
}

// decode reads n into v. Where all is true, v is a list for which "*" stands for everything.
func (s *source) decode(n ast.Node, v reflect.Value, at path, all bool) error {
	if _, ok := n.(*ast.NullNode); ok || n == nil {
		return s.fail(at, "has no value; give it one or leave it out")
	}
	if read, ok := scalars[v.Type()]; ok {
		return s.decodeScalar(n, v, at, read)
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		defaults(p.Elem())
		v.Set(p)
		return s.decode(n, p.Elem(), at, all)
	case reflect.Struct:
		return s.decodeStruct(n, v, at)
	case reflect.Map:
		return s.decodeMap(n, v, at)
	case reflect.Slice:
		return s.decodeList(n, v, at, all)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return s.failAt(startOf(n), at, "must be true or false")
		}
		v.SetBool(b.Value)
		return nil
	case reflect.Float64:
		return s.decodeRate(n, v, at)
	default: // int and uint32
		return s.decodeInt(n, v, at)
	}
}

func (s *source) decodeInt(n ast.Node, v reflect.Value, at path) error {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return s.failAt(startOf(n), at, "must be a whole number")
	}
	// Only plain decimals: whoever writes 0755 or 1_000 may mean another number than YAML does.
	x, err := strconv.ParseInt(i.GetToken().Value, 10, 64)
	if err != nil || strconv.FormatInt(x, 10) != i.GetToken().Value || v.CanInt() && v.OverflowInt(x) || v.CanUint() && (x < 0 || v.OverflowUint(uint64(x))) {
		return s.failAt(startOf(n), at, "is out of range, or not in plain decimal digits")
	}
	if v.CanInt() {
		v.SetInt(x)
	} else {
		v.SetUint(uint64(x))
	}
	return nil
}

// plainNumber is a number that YAML and everybody else read alike.
var plainNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$`)

// maxRate is the highest rate and burst.
const maxRate = 1_000_000

const aRate = "must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"

// decodeRate reads the one number that may have a fraction.
func (s *source) decodeRate(n ast.Node, v reflect.Value, at path) error {
	text := ""
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		text = n.GetToken().Value
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !plainNumber.MatchString(text) {
		return s.failAt(startOf(n), at, aRate)
	}
	v.SetFloat(x)
	return nil
}

func (s *source) decodeScalar(n ast.Node, v reflect.Value, at path, read scalar) error {
	text, ok := textOf(n)
	if !ok {
		if read.hint != "" {
			return s.failAt(startOf(n), at, "must be %s", read.hint)
		}
		return s.failAt(startOf(n), at, "must be text; what looks like a number or a word of YAML goes in quotes")
	}
	one := text
	if v.Type() == reflect.TypeFor[Expression]() { // the one that is many lines long, with tabs
		one = strings.NewReplacer("\n", "", "\t", "").Replace(text)
	}
	switch {
	case text == "":
		return s.failAt(startOf(n), at, "is empty; give it a value or leave it out")
	case control(one):
		return s.failAt(startOf(n), at, "has a line break or another control character in it")
	}
	x, err := read.parse(text)
	if err != nil {
		return s.failAt(startOf(n), at, "%v", err)
	}
	v.Set(reflect.ValueOf(x))
	return nil
}

func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// control reports whether text has characters that would break a line of a log or a path.
func control(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 })
}
