package rotation

import (
	"maps"
	"time"
)

// Snapshot is all keysets at one instant. It never changes, and neither does anything it
// refers to.
type Snapshot struct {
	// Keysets by name. From one snapshot to the next a keyset that did not change is the
	// same pointer.
	Keysets map[string]*Keyset
}

// Keyset is one keyset as readers see it.
type Keyset struct {
	Name string
	// Configured is false for a keyset that the store has and the configuration has not:
	// it is served as stored, and nothing is done to it.
	Configured bool
	// Policy is zero where it is not configured.
	Policy Policy
	// Document tells what is on the page (all generations in it) and which one signs.
	// Without generations there is no JWKS body: what a verifier could cache would be a
	// body without the first keys, which sign at once (invariant 1).
	Document Document
	// Signing are the keys that sign, in the order of the specs: those of the active
	// generation less the lost ones and those on tokens that are not configured. None where
	// the keyset is not configured.
	Signing []Key
	// Problem says in one line what is wrong; empty when nothing is.
	Problem string
	// Next is when something is due next; zero where nothing is by time.
	Next time.Time
}

// MaxAge is the max-age that the page may carry now: the policy's, but not more than the
// document bounds, as a longer one counts only when it is in the store.
func (k *Keyset) MaxAge() time.Duration {
	if !k.Configured {
		return k.Document.Served.MaxAge
	}
	return min(k.Policy.MaxAge, k.Document.Served.MaxAge)
}

// NextRotation is when the active generation is due to be replaced; zero where that is by
// hand, or where none is active yet.
func (k *Keyset) NextRotation() time.Time {
	active, ok := k.Document.Active()
	if !ok || !k.Configured {
		return time.Time{}
	}
	return k.Document.Until(active, k.Policy)
}

// with returns a snapshot in which these keysets replace those of the same names.
func (s *Snapshot) with(changed ...*Keyset) *Snapshot {
	keysets := make(map[string]*Keyset, len(s.Keysets)+len(changed))
	maps.Copy(keysets, s.Keysets)
	for _, k := range changed {
		keysets[k.Name] = k
	}
	return &Snapshot{Keysets: keysets}
}
