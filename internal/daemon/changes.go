package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/config"
	"keysetd.example/rotation"
)

// changes lists what cfg changes: what rotation said of keysets, and what is no business of
// rotation's; left is what stays out. By keysets, with what concerns none of them last.
func changes(before, cfg *config.Config, effects []rotation.Effect, left ...v1.KeysetChange) []v1.KeysetChange {
	list := []v1.KeysetChange{}
	for _, e := range effects {
		list = append(list, v1.KeysetChange{Keyset: e.Keyset, Change: e.What, At: e.At})
	}
	for _, name := range sortedKeys(cfg.Keysets) {
		if old, ok := before.Keysets[name]; ok {
			for _, what := range keysetChanges(old, cfg.Keysets[name]) {
				list = append(list, v1.KeysetChange{Keyset: name, Change: what})
			}
		}
	}
	list = append(list, left...)
	slices.SortStableFunc(list, func(a, b v1.KeysetChange) int { return cmp.Compare(a.Keyset, b.Keyset) })
	if cfg.PublicURL != before.PublicURL {
		list = append(list, v1.KeysetChange{Change: fmt.Sprintf("public_url is changed from %q to %q", before.PublicURL, cfg.PublicURL)})
	}
	for _, what := range callerChanges(before.Callers, cfg.Callers) {
		list = append(list, v1.KeysetChange{Change: "callers: " + what})
	}
	return list
}

// leftOut are the keysets that neither the file has nor the configuration in force had, and that nobody
// removes: that they do not sign is easily overlooked.
func leftOut(s *rotation.Snapshot, cfg *config.Config, remove []string) (list []v1.KeysetChange) {
	if s == nil {
		return nil
	}
	for _, name := range sortedKeys(s.Keysets) {
		_, there := cfg.Keysets[name]
		if k := s.Keysets[name]; there || k.Configured || !k.Document.Removed.IsZero() || slices.Contains(remove, name) {
			continue
		}
		list = append(list, v1.KeysetChange{Keyset: name, Change: "is not in the file: it stays published and does not sign; put it back, or --remove " + name})
	}
	return list
}

// keysetChanges are those that rotation knows nothing of. All but the certificates' take
// effect at once.
func keysetChanges(old, now config.Keyset) (list []string) {
	differ := func(field string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			list = append(list, fmt.Sprintf("%s is changed from %v to %v", field, shownValue(a), shownValue(b)))
		}
	}
	differ("purpose", old.Purpose, now.Purpose)
	differ("issuer", old.Issuer, now.Issuer)
	differ("any_issuer", old.AnyIssuer, now.AnyIssuer)
	differ("default_algorithm", old.DefaultAlgorithm, now.DefaultAlgorithm)
	differ("publish.x5t", old.Publish.X5T, now.Publish.X5T)
	differ("types", old.Types, now.Types)
	if !reflect.DeepEqual(old.Header, now.Header) {
		list = append(list, "header is changed")
	}
	if old.ClientAssertion != now.ClientAssertion {
		list = append(list, "client_assertion is changed")
	}
	if !reflect.DeepEqual(old.Certificate, now.Certificate) {
		list = append(list, "certificate is changed: for keys that are made from now on")
	}
	return list
}

// shownValue is a value of the configuration as people read it.
func shownValue(v any) string {
	if s := fmt.Sprint(v); s != "" {
		return s
	}
	return "none"
}

// callerChanges tell who is granted something new, something else, or nothing more.
func callerChanges(before, now map[string]config.Caller) (list []string) {
	both := maps.Clone(before)
	if both == nil {
		both = map[string]config.Caller{}
	}
	maps.Copy(both, now)
	for _, name := range sortedKeys(both) {
		old, was := before[name]
		next, is := now[name]
		switch {
		case !was:
			list = append(list, name+" is added")
		case !is:
			list = append(list, name+" is removed")
		case !reflect.DeepEqual(old, next):
			list = append(list, name+" is changed")
		}
	}
	return list
}
