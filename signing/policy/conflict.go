package policy

import (
	"fmt"
	"slices"
)

// Who may sign payloads with a key can make any token with it, so limits on tokens mean
// nothing beside Sign on the same keyset. New refuses that: in one rule, in two for the same uid
// or the same gid, and in two of which one is for a group: whether somebody is in a group only a connection
// tells, and a user with subordinate uids (subuid(5)) can keep the group and drop the uid, or the other way.
// Keysets that nobody can Sign with, by their purpose, do not count (Options.Signing).

// beside returns what is wrong with the limits of a rule beside Sign on the same keyset, which how tells
// of.
func (r Rule) beside(how, keyset string) error {
	limit := r.limit()
	way := "leave " + limit + " out"
	if limit == "client_ids" {
		way = `write "*"`
	}
	return &RuleError{r.Name, limit, fmt.Sprintf("does not go with operation sign on keyset %s%s, with which it could make any token; %s, or grant sign on other keysets, as a caller of its own", keyset, how, way)}
}

// checkPairs refuses a caller that is limited by one rule and may Sign by another.
func checkPairs(rules []Rule, opts Options) error {
	for _, s := range rules {
		if !s.grants(Sign) {
			continue
		}
		for _, l := range rules {
			if l.limit() == "" {
				continue
			}
			keyset, ok := opts.common(l.Keysets, s.Keysets)
			if !ok {
				continue
			}
			switch a, b := l.who(), s.who(); {
			case a == b:
				return l.beside(fmt.Sprintf(", which caller %s grants %s", s.Name, a), keyset)
			case a.group || b.group:
				return l.beside(fmt.Sprintf(", which caller %s grants %s, who may also be %s", s.Name, b, a), keyset)
			}
		}
	}
	return nil
}

// who is the user or the group that a rule is for.
type who struct {
	group bool
	id    uint32
}

func (r Rule) who() who {
	if r.GID != nil {
		return who{true, *r.GID}
	}
	return who{false, *r.UID}
}

func (w who) String() string {
	if w.group {
		return fmt.Sprintf("gid %d", w.id)
	}
	return fmt.Sprintf("uid %d", w.id)
}

// common returns a keyset that two lists have in common and that can Sign; All where it may be any.
func (o Options) common(a, b []string) (keyset string, ok bool) {
	if slices.Contains(a, All) {
		a, b = b, a
	}
	candidates := a
	if slices.Contains(a, All) { // both are
		if o.Signing == nil {
			return All, true
		}
		candidates = o.Signing
	}
	for _, k := range candidates {
		if (slices.Contains(b, k) || slices.Contains(b, All)) && (o.Signing == nil || slices.Contains(o.Signing, k)) {
			return k, true
		}
	}
	return "", false
}
