package rotation

import (
	"crypto"
	"fmt"
	"maps"
	"slices"
	"time"

	"keysetd.example/hsm"
)

// eventRecovered is the first event of a document that was rebuilt.
const (
	eventRecovered = "recovered"
	byRecover      = "recover"
)

// RebuildRequest is what is left when a store is lost.
type RebuildRequest struct {
	// Installation whose store it was.
	Installation string
	// Objects on each token of the configuration: all of them, whosever they are.
	Objects map[string][]Found
	// Policies of the keysets of the configuration.
	Policies map[string]Policy
	// Revoked are the keys that were revoked, by keyset.
	Revoked map[string][]Revocation
	// KeyID derives the kid of a key.
	KeyID func(pub crypto.PublicKey) (string, error)
	// Unproven has public keys published again also where no private half was seen to belong
	// to them. Whoever may open a session on a token can lay a public key there, without a PIN; it
	// is for the operator to say that he knows them.
	Unproven bool
	Now      time.Time
}

// Found is an object on a token.
type Found struct {
	hsm.Object
	// Doubt is why its private half, if there is one, is not known to belong to its public half.
	// Nil: it signed and that verified, or it is of a usage that cannot be tried.
	Doubt error
}

// Rebuilt is a store rebuilt.
type Rebuilt struct {
	Keysets []RebuiltKeyset // by name
	// Left are the objects that no document has. Nothing will ever be done to them.
	Left []LeftAlone
}

// RebuiltKeyset is one keyset of it.
type RebuiltKeyset struct {
	Document
	Configured bool
	// Event to be written with the document.
	Event Event
	// Notes are for the operator: what was decided in doubt, one sentence each.
	Notes []string
}

// LeftAlone is an object that stays as it is.
type LeftAlone struct {
	Token string
	ID    []byte
	Label string
	Why   string
	// Unproven: with RebuildRequest.Unproven its public key would be published.
	Unproven bool
}

// Rebuild makes of the labels on the tokens what a lost store most likely said. Whatever
// the labels do not tell is decided so that no verifier is asked to accept what it may not
// know, and no key that may have signed leaves the page (invariants 1 and 2):
//
//   - Every generation is published, and stays as long as if it had signed until now.
//   - The second newest complete generation signs. It was active or retired, as the next one is
//     made when it is activated. The newest may have been pending: it waits until no page
//     without it can be fresh, and then nothing more, as the period of the one before is over for all
//     anybody knows.
//   - Where there is one generation it signs. Where only one is complete it signs if a later one
//     was begun; if not, nothing signs until verifiers surely know it.
//   - Of keysets that decrypt the newest complete generation is active: nobody has to know
//     a key beforehand to whom others encrypt, and the retired ones decrypt.
//   - A revoked key is in no generation (invariant 6).
//   - No number is used again.
//
// A generation is complete if it has one key, and a proven one, for each spec that the configuration names, or where none
// has, for as many specs as any. Where every one has lost keys, or has too many, they are
// measured by what they can still do.
func Rebuild(r RebuildRequest) Rebuilt {
	s := r.salvage()
	out := Rebuilt{Left: s.left}
	names := slices.Collect(maps.Keys(s.keys))
	for name := range r.Revoked {
		names = append(names, name)
	}
	for name, policy := range r.Policies {
		if !policy.static() { // the administrator's keys are found where he says
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		out.Keysets = append(out.Keysets, r.keyset(name, s))
	}
	return out
}

// keyset rebuilds one keyset.
func (r RebuildRequest) keyset(name string, s salvage) RebuiltKeyset {
	policy, configured := r.Policies[name]
	if !configured {
		policy = Policy{}.WithDefaults()
	}
	fresh := policy.freshness()
	k := RebuiltKeyset{Configured: configured, Document: Document{
		Format: Format, Keyset: name, Last: s.last[name],
		Served: fresh, StaleUntil: r.Now.Add(fresh.Reach()),
		Revoked: slices.SortedStableFunc(slices.Values(s.revoked[name]), func(a, b Revocation) int { return a.At.Compare(b.At) }),
	}}
	all := remainsOf(s.keys[name], k.Revoked)
	best, wanted := complete(all, policy.Specs)
	active, pending, why := roles(all, best, policy, k.Last)
	for _, g := range all {
		k.Generations = append(k.Generations, g.generation(active, pending, policy, configured, r.Now))
		if problem := g.problem(wanted); problem != "" {
			k.Notes = append(k.Notes, fmt.Sprintf("generation %d %s", g.number, problem))
		}
	}
	switch {
	case len(all) == 0:
		k.Notes = append(k.Notes, "no key of it was found: its next generation signs, once it is made and verifiers surely know it")
	case why != "":
		k.Notes = append(k.Notes, why)
	}
	if !configured {
		k.Notes = append(k.Notes, "it is not in the configuration: its keys are published, nothing signs and nothing goes until it is, or is removed")
	} else if len(all) > 0 {
		for _, alg := range policy.Algorithms {
			k.Entries = append(k.Entries, Entry{Algorithm: alg, State: Pending})
		}
	}
	k.Event = Event{At: r.Now, What: eventRecovered, By: byRecover, KIDs: k.kids(), Why: fmt.Sprintf("the store was lost; %d generations were rebuilt from the labels on the tokens", len(all))}
	return k
}

// kids of all live generations.
func (d Document) kids() (kids []string) {
	for _, g := range d.Generations {
		kids = append(kids, g.kids()...)
	}
	return kids
}
