package config

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// A value that lands in an error is in the log, so no value does: whichever value of the
// example is exchanged for a secret, and however that is written.
func TestErrorsRepeatNoValue(t *testing.T) {
	const secret = "hunter2"
	example := strings.Replace(Example(), "# chain:", "chain:", 1)
	opts := testOptions
	opts.ReadFile = oneFile("partner-2026.pem", chainPEM(t, rsaKey(t)))
	if _, err := Parse("k.yaml", []byte(example), opts); err != nil {
		t.Fatal(err)
	}
	tokens := lexer.Tokenize(example)
	var refused atomic.Int64
	try := func(line int, lines []string) {
		_, err := Parse("k.yaml", []byte(strings.Join(lines, "\n")), opts)
		if err == nil {
			return
		}
		refused.Add(1)
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "k.yaml:") {
			t.Errorf("line %d %q: %v", line+1, lines[line], err)
		}
	}
	var forms sync.WaitGroup
	for _, form := range []string{secret, `"` + secret + `"`, "[" + secret + "]", "{" + secret + "}", "{" + secret + ": " + secret + "}", "!" + secret, "&" + secret + " x", "*" + secret, "@" + secret, "'" + secret, secret + ": " + secret, "|\n" + secret, ">" + secret, `"\` + secret + `"`, "- " + secret, "? " + secret} {
		forms.Go(func() {
			for i, tk := range tokens {
				if tk.Type == token.CommentType || i+1 < len(tokens) && tokens[i+1].Type == token.MappingValueType {
					continue // no value
				}
				lines := strings.Split(example, "\n")
				line, col := tk.Position.Line-1, tk.Position.Column-1
				at := []rune(lines[line])
				// The token and the rest of its line go, or what is left of a list stands after it.
				lines[line] = string(at[:col]) + form
				try(line, lines)
				if rest := strings.TrimPrefix(string(at[col:]), tk.Value); !blank.MatchString(rest) {
					lines[line] += rest
					try(line, lines)
				}
			}
		})
	}
	forms.Wait()
	if refused.Load() < 1000 {
		t.Errorf("only %d were refused", refused.Load())
	}
}

// blank is the end of a line that says nothing.
var blank = regexp.MustCompile(`^\s*(#.*)?$`)

// FuzzParse: whatever the file is, there is no panic, and the error is one line with a
// place that repeats nothing which could not be a field or a name.
func FuzzParse(f *testing.F) {
	const secret = "Hunter2!secret"
	f.Add([]byte(Example()))
	f.Add([]byte(good))
	f.Add([]byte(least))
	f.Add([]byte(goodStatic))
	f.Add([]byte(goodAuthority))
	f.Add([]byte(goodDiscovery))
	opts := testOptions // no file that the fuzzer hits upon is opened
	opts.ReadFile = oneFile("c.pem", chainPEM(f, rsaKey(f)))
	for _, v := range []string{`"` + secret + `"`, secret, "{" + secret + "}", "[" + secret + "]", "&" + secret + " x", "|\n      " + secret} {
		f.Add([]byte(strings.Replace(good, "{file: pin}", v, 1)))
		f.Add([]byte(strings.Replace(good, "https://issuer.example", v, 1)))
		for _, old := range []string{"old-rsa", `"0a1b"`, "main", "c.pem", "8d", "p-256"} {
			f.Add([]byte(strings.Replace(goodStatic, old, v, 1)))
		}
		for _, old := range []string{"corporate:", "issuing", "c.pem", `"http://pki.example/a.crl"`, "ca: corporate", "spare"} {
			f.Add([]byte(strings.Replace(goodAuthority, old, v, 1)))
		}
		for _, old := range []string{"https://keys.example", "https://issuer.example/token", "openid", "scopes_supported"} {
			f.Add([]byte(strings.Replace(goodDiscovery, old, v, 1)))
		}
	}
	f.Add([]byte("a: [" + secret + "\nb: {\n- x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return // more of the same, and slow
		}
		cfg, err := Parse("k.yaml", data, opts)
		if err == nil {
			for name := range cfg.Keysets {
				if err := cfg.Keysets[name].Policy(name).Validate(); err != nil {
					t.Errorf("accepted with %v", err)
				}
			}
			return
		}
		var line, col int
		if _, serr := fmt.Sscanf(err.Error(), "k.yaml:%d:%d: ", &line, &col); serr != nil || line < 1 || col < 1 || strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("no place, or several lines: %q", err)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("repeats the secret: %q", err)
		}
	})
}
