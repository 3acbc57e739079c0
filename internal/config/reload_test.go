package config

import (
	"slices"
	"strings"
	"testing"
)

func TestNeedsRestart(t *testing.T) {
	const several = `tokens:
  main: {module: m.so, label: l, pin: {file: pin}}
  spare: {module: m.so, label: s, pin: {file: pin}}
keysets: {k: {purpose: raw, token: main, keys: [p-256]}}
`
	for _, tc := range []struct{ before, old, new, want string }{
		{good, "", "", ""},
		{good, "period: 12h", "period: 1d", ""},
		{good, "listen:", "public_url: https://k.example\nlisten:", ""},
		{good, "uid: 1001", "uid: 1002", ""},
		{good, "127.0.0.1:0", "127.0.0.1:1", "listen"},
		{good, "module: m.so", "module: ./m.so", ""}, // the same file
		{good, "module: m.so", "module: n.so", "token"},
		{good, "label: l", "label: l\n  accept_keys: [x]", "token"},
		{good, "label: l", "label: l\n  limits: {sign: 1s}", "token"},
		{good, "listen:", "store: {path: s}\naudit: {sync: always}\nlisten:\n  metrics: 'off'", "store audit listen"},
		{good, "token:\n  module: m.so\n  label: l\n  pin: {file: pin}\n", "tokens: {default: {module: m.so, label: l, pin: {file: pin}}}\n", ""},
		{good, "token:\n  module: m.so\n  label: l\n  pin: {file: pin}\n", "tokens: {default: {module: m.so, label: m, pin: {file: pin}}, a: {module: m.so, label: l, pin: {file: pin}}}\n", "tokens.a tokens.default"},
		{good, "token:\n  module: m.so\n  label: l\n  pin: {file: pin}\n", "tokens: {main: {module: m.so, label: l, pin: {file: pin}}}\n", "token tokens.main audit"},
		{several, "  spare: {module: m.so, label: s, pin: {file: pin}}\n", "", "tokens.spare"},
		{several, "file: pin}}\n  spare", "file: p}}\n  spare", "tokens.main"},
	} {
		after := mustParse(t, strings.Replace(tc.before, tc.old, tc.new, 1))
		if got := after.NeedsRestart(mustParse(t, tc.before)); !slices.Equal(got, strings.Fields(tc.want)) {
			t.Errorf("%q becomes %q: %q, want %q", tc.old, tc.new, got, tc.want)
		}
	}
}
