package rotation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"keysetd.example/hsm"
)

// inventory is what one token held at one instant.
type inventory struct {
	// private are the CKA_IDs of private keys, whatever their labels.
	private map[string]bool
	// labelled are the objects whose label names a keyset of this installation.
	labelled map[string][]hsm.Object
	// nameless are the objects with a label of this installation that no version of keysetd wrote.
	nameless []hsm.Object
}

func newInventory(installation string, objects []hsm.Object) inventory {
	inv := inventory{private: map[string]bool{}, labelled: map[string][]hsm.Object{}}
	for _, o := range objects {
		if o.Private {
			inv.private[string(o.ID)] = true
		}
		if !strings.HasPrefix(o.Label, LabelPrefix(installation)) {
			continue // somebody else's
		}
		if l, err := ParseLabel(o.Label); err == nil {
			inv.labelled[l.Keyset] = append(inv.labelled[l.Keyset], o)
		} else {
			inv.nameless = append(inv.nameless, o)
		}
	}
	return inv
}

// compare marks as lost the live keys on token that the inventory of it does not have, and
// as found those that were marked and are there again. Without events nothing changed.
func (d Document) compare(token string, inv inventory, now time.Time) (Document, []Event) {
	var events []Event
	d = d.clone()
	for i := range d.Generations {
		g := &d.Generations[i]
		g.Keys = slices.Clone(g.Keys)
		for j := range g.Keys {
			k := &g.Keys[j]
			if there := inv.private[string(k.ID)]; k.Token != token || there == k.Lost.IsZero() {
				continue
			}
			if k.Lost.IsZero() {
				k.Lost = now
				events = append(events, event(eventLost, g.Number, []string{k.KID}, now, fmt.Sprintf("token %s is logged in and does not have its key %s", token, k.Spec)))
			} else {
				k.Lost = time.Time{}
				events = append(events, event(eventFound, g.Number, []string{k.KID}, now, fmt.Sprintf("token %s has its key %s again", token, k.Spec)))
			}
		}
	}
	return d, events
}

// strays are the objects that bear the name of d's keyset and that d knows nothing of. ahead
// reports whether one of them has a number that d never gave.
func (d Document) strays(inv inventory) (names []string, ahead bool) {
	known := map[string]bool{}
	for _, g := range d.Generations {
		for _, k := range g.Keys {
			known[string(k.ID)] = true
		}
	}
	for _, i := range d.Intents {
		for _, o := range i.Objects {
			known[string(o.ID)] = true
		}
	}
	for _, a := range d.Abandoned {
		known[string(a.ID)] = true
	}
	for _, r := range d.Revoked {
		known[string(r.ID)] = true // kept, or still to be destroyed
	}
	for _, o := range inv.labelled[d.Keyset] {
		if known[string(o.ID)] {
			continue
		}
		names = append(names, fmt.Sprintf("%s (CKA_ID %x)", o.Label, o.ID))
		// A public key anybody with a session could have put there.
		if l, err := ParseLabel(o.Label); err == nil && o.Private && l.Generation > d.Last {
			ahead = true
		}
	}
	return names, ahead
}
