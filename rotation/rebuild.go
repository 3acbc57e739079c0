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
	// AcceptUnpublished has the next generation of a keyset in which none can sign at once do so
	// without waiting for verifiers. It is for the operator to accept that they refuse its tokens.
	AcceptUnpublished bool
	Now               time.Time
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
	// Silence tells that nothing signs at first, and until when; empty where something does.
	Silence string
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
//   - Where only one is complete it signs if it is the first that the keyset ever had: no page was
//     served without it. If not, nothing signs until verifiers surely know it: after a revocation of all
//     keys the only generation is one that was published a moment ago.
//   - Of a static keyset nothing tells which of its keys signed, or were on a page. They are taken
//     over as new ones, and nothing signs until verifiers surely know them.
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
	for name := range r.Policies {
		names = append(names, name)
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
	active, pending, why := roles(best, policy)
	for _, g := range all {
		k.Generations = append(k.Generations, g.generation(active, pending, policy, configured, r.Now))
		if problem := g.problem(wanted); problem != "" {
			k.Notes = append(k.Notes, fmt.Sprintf("generation %d %s", g.number, problem))
		}
	}
	switch {
	case len(all) == 0 && policy.static():
		k.Notes = append(k.Notes, "it is static: the keys that the configuration names are taken over at the start")
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
	if configured && active == 0 && !policy.Encrypts() {
		k.AcceptUnpublished = r.AcceptUnpublished
		k.Silence = silence(fresh, k.StaleUntil, r.AcceptUnpublished)
	}
	k.Event = Event{At: r.Now, What: eventRecovered, By: byRecover, KIDs: k.kids(), Why: fmt.Sprintf("the store was lost; %d generations were rebuilt from the labels on the tokens", len(all))}
	return k
}

// silence tells until when nothing signs in a keyset that has no key which verifiers surely know.
func silence(f Freshness, until time.Time, accepted bool) string {
	if accepted {
		return fmt.Sprintf("its next key signs as soon as it is published, as you accept: until %s at least verifiers may not know it and refuse its tokens", until.Format(time.RFC3339))
	}
	return fmt.Sprintf("NOTHING SIGNS until verifiers surely know its next key: %s after keysetd has published it (max_age %s + clock_skew %s + verifier_cache %s), so not before %s; --accept-unpublished does not wait",
		f.Reach(), f.MaxAge, f.ClockSkew, f.VerifierCache, until.Format(time.RFC3339))
}

// kids of all live generations.
func (d Document) kids() (kids []string) {
	for _, g := range d.Generations {
		kids = append(kids, g.kids()...)
	}
	return kids
}
