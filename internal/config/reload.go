package config

import (
	"maps"
	"reflect"
	"slices"
)

// reloadable are the fields that a running daemon takes over.
var reloadable = []string{"public_url", "certificate_authorities", "keysets", "callers"}

// NeedsRestart names what differs from old and cannot be changed while the daemon runs, as
// the file names it: "listen", "tokens.main". None: all that differs can be taken over.
func (c *Config) NeedsRestart(old *Config) []string {
	var names []string
	now, before := reflect.ValueOf(c).Elem(), reflect.ValueOf(old).Elem()
	for _, name := range fields(now.Type()) {
		is, _, _ := field(now, name)
		was, _, _ := field(before, name)
		switch {
		case name == "token": // Tokens has it
		case name == "tokens":
			names = append(names, c.tokensThatDiffer(old)...)
		case !slices.Contains(reloadable, name) && !reflect.DeepEqual(is.Interface(), was.Interface()):
			names = append(names, name)
		}
	}
	return names
}

func (c *Config) tokensThatDiffer(old *Config) (names []string) {
	both := maps.Clone(old.Tokens)
	maps.Copy(both, c.Tokens)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		now, is := c.Tokens[name]
		before, was := old.Tokens[name]
		switch {
		case is && was && reflect.DeepEqual(now, before):
		case name == DefaultToken && (is && c.single || !is && old.single):
			names = append(names, "token")
		default:
			names = append(names, "tokens."+name)
		}
	}
	return names
}
