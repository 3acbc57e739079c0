package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// path names a field: "/"-separated, for names may have dots in them.
type path string

// root is the document itself.
const root path = ""

func (p path) join(name string) path {
	if p == root {
		return path(name)
	}
	return p + "/" + path(name)
}

func (p path) item(i int) path { return path(fmt.Sprintf("%s[%d]", p, i)) }

func (p path) String() string { return strings.ReplaceAll(string(p), "/", ".") }

// place is a line and a column, both from 1; the zero place is the beginning.
type place struct{ line, column int }

func placeOf(tk *token.Token) place {
	if tk == nil || tk.Position == nil {
		return place{}
	}
	return place{tk.Position.Line, tk.Position.Column}
}

// source is a file while it is read.
type source struct {
	file string // as the errors name it
	dir  string // absolute
	opts Options
	keys map[path]place // where each field that is given has its key
}

// has reports whether a field is given.
func (s *source) has(p path) bool {
	_, ok := s.keys[p]
	return ok
}

// failAt returns the error about a field at a place in the file.
func (s *source) failAt(at place, field path, format string, args ...any) error {
	name := ""
	if field != root {
		name = field.String() + ": "
	}
	return fmt.Errorf("%s:%d:%d: %s%s", s.file, max(at.line, 1), max(at.column, 1), name, fmt.Sprintf(format, args...))
}

// fail returns the error about a field, at its key or at the nearest one around it.
func (s *source) fail(field path, format string, args ...any) error {
	return s.failAt(s.nearest(field), field, format, args...)
}

func (s *source) nearest(field path) place {
	for p := string(field); p != ""; {
		if at, ok := s.keys[path(p)]; ok {
			return at
		}
		p = p[:max(strings.LastIndexAny(p, "/["), 0)]
	}
	return place{}
}

// startOf returns the first place of a node.
func startOf(n ast.Node) place {
	if values, ok := entries(n); ok && len(values) > 0 {
		if m, ok := n.(*ast.MappingNode); !ok || !m.IsFlowStyle {
			return placeOf(values[0].Key.GetToken())
		}
	}
	return placeOf(n.GetToken())
}

// entries returns the entries of a mapping.
func entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}
