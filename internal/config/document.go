package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. The parser's time and stack grow with depth, so deep ones do not get to it.
const (
	maxSize  = 4 << 20 // 10,000 keysets fit
	maxDepth = 8       // of brackets
)

func readAll(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return data, nil
}

// document returns the content of the one document that data is.
func (s *source) document(data []byte) (ast.Node, error) {
	switch {
	case len(data) > maxSize:
		return nil, s.fail(root, "is larger than the %d MiB that a configuration may have", maxSize>>20)
	case !utf8.Valid(data):
		line := 1 + bytes.Count(data[:invalidAt(data)], []byte("\n"))
		return nil, s.failAt(place{line: line}, root, "is not UTF-8 text")
	}
	tokens := lexer.Tokenize(strings.TrimPrefix(string(data), "\ufeff"))
	if err := s.scan(tokens); err != nil {
		return nil, err
	}
	file, err := parse(tokens)
	if err != nil {
		return nil, s.syntax(err)
	}
	if len(file.Docs) > 1 {
		return nil, s.failAt(startOfDoc(file.Docs[1]), root, "begins a second document; a configuration is one")
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, s.fail(root, "is empty; see the example configuration")
	}
	return file.Docs[0].Body, nil
}

func invalidAt(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(data)
}

func startOfDoc(d *ast.DocumentNode) place {
	if d.Start != nil || d.Body == nil {
		return placeOf(d.Start)
	}
	return startOf(d.Body)
}

// scan refuses what a configuration has no use for before it is parsed: what makes a
// document mean something else than it shows, or grow beyond its text.
func (s *source) scan(tokens token.Tokens) error {
	depth := 0
	for i, tk := range tokens {
		what := ""
		switch tk.Type {
		case token.AliasType:
			what = `YAML aliases are not read; for all of something write "*" in quotes`
		case token.AnchorType:
			what = "YAML anchors are not read; text that begins with & goes in quotes"
		case token.MergeKeyType:
			what = "YAML merge keys are not read; write the fields out"
		case token.TagType:
			what = "YAML tags are not read; text that begins with ! goes in quotes"
		case token.DirectiveType:
			what = "YAML directives are not read; text that begins with % goes in quotes"
		case token.MappingKeyType:
			what = `keys marked by "?" are not read; write KEY: VALUE`
		case token.SequenceEntryType:
			if i > 0 && tokens[i-1].Type == token.SequenceEntryType {
				what = "no list has lists in it"
			}
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxDepth {
				what = "brackets are nested deeper than any field is"
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		if what != "" {
			return s.failAt(placeOf(tk), root, "%s", what)
		}
	}
	return nil
}

// parse runs the parser on tokens. Files that people mistype are what a parser is tried
// with least, so a panic of its is one more way to say that this is no YAML.
func parse(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the parser gave up")
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// plain are the messages of the YAML library that are known to repeat nothing of the
// file, and what they mean to the reader.
var plain = map[string]string{
	"mapping value is not allowed in this context":                       "a \":\" is out of place; text with \": \" in it goes in quotes, and fields of one block begin in one column",
	"value is not allowed in this context":                               "this is out of place; check the indentation",
	"value is not allowed in this context. map key-value is pre-defined": "this is out of place; check the indentation",
	"non-map value is specified":                                         "this is not KEY: VALUE as the lines around it are; is a \":\" missing?",
	"unexpected key name":                                                "this is not KEY: VALUE as the lines around it are; is a \":\" missing?",
	"',' or ']' must be specified":                                       "a \",\" or \"]\" is missing",
	"',' or '}' must be specified":                                       "a \",\" or \"}\" is missing",
	"sequence end token ']' not found":                                   "a \"[\" has no \"]\"",
	"could not find flow mapping end token '}'":                          "a \"{\" has no \"}\"",
	"could not find '[' character corresponding to ']'":                  "a \"]\" has no \"[\"",
	"could not find '{' character corresponding to '}'":                  "a \"}\" has no \"{\"",
	"could not find end character of double-quoted text":                 "a quote is not closed",
	"could not find end character of single-quoted text":                 "a quote is not closed",
	"found character '\t' that cannot start any token":                   "a tab indents this line; YAML takes spaces only",
	"found a tab character where an indentation space is expected":       "a tab indents this line; YAML takes spaces only",
	"block sequence entries are not allowed in this context":             "a list with \"-\" begins on a line of its own",
	"'@' is a reserved character":                                        "text that begins with @ goes in quotes",
	"'`' is a reserved character":                                        "text that begins with ` goes in quotes",
}

// syntax returns the library's error as one of ours.
func (s *source) syntax(err error) error {
	at, what := place{}, ""
	var y yaml.Error
	if errors.As(err, &y) {
		at, what = placeOf(y.GetToken()), plain[y.GetMessage()]
	}
	if what == "" {
		what = "this is not YAML; check the indentation, quotes and brackets here and above"
	}
	return s.failAt(at, root, "%s", what)
}
