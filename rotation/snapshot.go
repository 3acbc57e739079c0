package rotation

import (
	"maps"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
)

// Snapshot is all keysets at one instant. It never changes, and neither does anything it
// refers to.
type Snapshot struct {
	// Keysets by name. From one snapshot to the next a keyset that did not change is the
	// same pointer.
	Keysets map[string]*Keyset

	skew  sync.Once
	least time.Duration
}

// Keyset is one keyset as readers see it.
type Keyset struct {
	Name string
	// Configured is false for a keyset that the store has and the configuration has not:
	// it is served as stored, and nothing is done to it.
	Configured bool
	// Policy is zero where it is not configured.
	Policy Policy
	// Document tells what is on the page (all generations in it) and which one signs. A key's
	// Chain is there only while it is valid.
	// Without generations there is no JWKS body: what a verifier could cache would be a
	// body without the first keys, which sign at once (invariant 1).
	Document Document
	// Signing are the keys that sign, in the order of the specs: those of the active
	// generation less the lost ones, those on tokens that are not configured and, where a chain is
	// required, those without one. None where
	// the keyset is not configured.
	Signing []Key
	// Problem says in one line what is wrong; empty when nothing is.
	Problem string
	// Warnings say, a line each, what will be wrong unless somebody does something.
	Warnings []string
	// Missing are the kids of keys for which a certificate is wanted by now that is valid: warnings or
	// the problem tell of them.
	Missing []string
	// Next is when something is due next; zero where nothing is by time.
	Next time.Time

	hidden []string // kids of keys whose chain is not valid by its dates, so that Document does not have it
}

// MaxAge is the max-age that the page may carry now: the policy's, but not more than the
// document bounds, as a longer one counts only when it is in the store.
func (k *Keyset) MaxAge() time.Duration {
	if k.Policy.MaxAge == 0 { // none is known
		return k.Document.Served.MaxAge
	}
	return min(k.Policy.MaxAge, k.Document.Served.MaxAge)
}

// Guaranteed is how long a token may live that is signed now without a watermark: what the policy
// guarantees, but not more than the document says, as a longer one counts only when it is in the store.
func (k *Keyset) Guaranteed() time.Duration {
	active, ok := k.Document.Active()
	if !ok || !k.Configured {
		return 0
	}
	return min(k.Policy.guaranteed(), active.Lifetime)
}

// Published are the generations on the page: all that are live, and of a keyset that
// decrypts the active one alone.
func (k *Keyset) Published() []Generation {
	if !k.decrypts() {
		return k.Document.Generations
	}
	if active, ok := k.Document.Active(); ok {
		return []Generation{active}
	}
	return nil
}

// decrypts reports whether it is a keyset that decrypts, also where no policy says so any more.
func (k *Keyset) decrypts() bool {
	return k.Policy.Encrypts() || k.Document.encrypts()
}

// FreshUntil is the instant beyond which no page of a keyset that decrypts may be fresh: the
// next activation, which puts another key on it. Zero: there is no bound.
func (k *Keyset) FreshUntil() time.Time {
	if !k.Policy.Encrypts() {
		return time.Time{}
	}
	return k.NextRotation()
}

// Coming are the key specs that do not sign yet and will, and from when on; a zero time
// is not known yet.
func (k *Keyset) Coming() map[keyspec.Spec]time.Time {
	coming := map[keyspec.Spec]time.Time{}
	if !k.Configured || !k.Document.Removed.IsZero() {
		return coming
	}
	for _, spec := range k.Policy.Specs {
		coming[spec] = time.Time{}
	}
	for _, g := range k.Document.Generations {
		if g.State != Pending || g.impaired() {
			continue
		}
		for _, key := range g.Keys {
			if at := k.Document.Until(g, k.Policy); !at.IsZero() && (coming[key.Spec].IsZero() || at.Before(coming[key.Spec])) {
				coming[key.Spec] = at
			}
		}
	}
	for _, key := range k.Signing {
		delete(coming, key.Spec)
	}
	return coming
}

// ComingAlgorithms are the algorithms that get a kid of their own, and when.
func (k *Keyset) ComingAlgorithms() map[jose.SignatureAlgorithm]time.Time {
	coming := map[jose.SignatureAlgorithm]time.Time{}
	for _, e := range k.Document.Entries {
		if at, dated := k.Document.next(e, k.Policy, true); e.State == Pending && dated {
			coming[e.Algorithm] = at
		}
	}
	return coming
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
		if k.Document.gone() && !k.Configured {
			delete(keysets, k.Name)
		}
	}
	return &Snapshot{Keysets: keysets}
}

// leastSkew is the smallest clock skew that a keyset allows for.
func (s *Snapshot) leastSkew() time.Duration {
	s.skew.Do(func() {
		for _, k := range s.Keysets {
			if k.Configured && (s.least == 0 || k.Policy.ClockSkew < s.least) {
				s.least = k.Policy.ClockSkew
			}
		}
	})
	return s.least
}
