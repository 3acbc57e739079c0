package policy

import (
	"fmt"
	"slices"
)

// Who may sign payloads with a key can make any token with it, so limits on tokens mean
// nothing beside Sign on the same keyset. New refuses that: in one rule, in two for the same uid
// or the same gid, and in two of which one is for a group: whether somebody is in a group only a connection
// tells, and a user with subordinate uids (subuid(5)) can keep the group and drop the uid, or the other way.

// beside is the message about limits beside Sign.
func beside(who string) string {
	return who + " has limits for tokens or assertions beside operation sign on the same keyset, and with sign it could make any token; grant sign on other keysets, or no limits"
}

// checkPairs refuses a caller that is limited by one rule and may Sign by another.
func checkPairs(rules []Rule) error {
	for _, s := range rules {
		if !s.grants(Sign) {
			continue
		}
		for _, l := range rules {
			if !l.limited() || !common(l.Keysets, s.Keysets) {
				continue
			}
			switch a, b := l.who(), s.who(); {
			case a == b:
				return fmt.Errorf("callers %s and %s: %s", l.Name, s.Name, beside(b.String()))
			case a.group || b.group:
				return fmt.Errorf("callers %s and %s: %s", l.Name, s.Name, beside(fmt.Sprintf("%s may also be %s, and", a, b)))
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

// common reports whether two lists of keysets have one in common.
func common(a, b []string) bool {
	if slices.Contains(a, All) || slices.Contains(b, All) {
		return true
	}
	return slices.ContainsFunc(a, func(k string) bool { return slices.Contains(b, k) })
}
