package daemon

import (
	"slices"
	"time"

	"keysetd.example/rotation"
	"keysetd.example/signing"
)

// records are the keys of a document as they are listed: what signs, what will, what did, and those
// that were revoked, the newest first. A key of the administrator's that is of several generations is
// one key, in the state of the first of these. A chain is there only while it may be published.
func records(d rotation.Document) (all []signing.KeyRecord) {
	seen := map[string]bool{}
	for _, g := range inOrder(d.Generations) {
		for _, key := range g.Keys {
			if seen[key.KID] {
				continue
			}
			seen[key.KID] = true
			since, until := current(d, key.KID)
			all = append(all, signing.KeyRecord{
				KID: key.KID, Spec: key.Spec, Generation: g.Number, State: g.State,
				CurrentSince: since, CurrentUntil: until, Chain: key.Chain,
			})
		}
	}
	for _, r := range slices.Backward(d.Revoked) {
		all = append(all, signing.KeyRecord{KID: r.KID, Spec: r.Spec, Generation: r.Generation, RevokedAt: r.At})
	}
	return all
}

// current is since when a key is in use, or was the last time, and when it ceased to be. From one
// generation to the next that has it, too, it stays in use. Generations that never were active count
// for nothing.
func current(d rotation.Document, kid string) (since, until time.Time) {
	has := false
	for _, g := range d.Generations {
		if g.Activated.IsZero() {
			continue
		}
		had := has
		has = slices.ContainsFunc(g.Keys, func(k rotation.Key) bool { return k.KID == kid })
		if !has {
			continue
		}
		if !had {
			since = g.Activated
		}
		if until = d.Since(g); g.State == rotation.Active {
			until = time.Time{}
		}
	}
	return since, until
}
