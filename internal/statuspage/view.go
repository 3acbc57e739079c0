package statuspage

import (
	"time"

	v1 "keysetd.example/api/v1"
)

// View is what the page tells of the daemon at one instant. Whatever stands in it is shown:
// it holds no secret.
type View struct {
	Version string
	// Started is when the daemon did.
	Started time.Time
	// Ready: what /readyz says. Why says in one line why not; empty where it is.
	Ready bool
	Why   string
	// Warnings are in one line each, the worst first. What Tokens and Keysets tell themselves
	// need not be among them.
	Warnings []string
	Tokens   []v1.Token
	Keysets  []Keyset
}

// Keyset is a keyset as its callers see it, and when its generations came into their states.
type Keyset struct {
	v1.Keyset
	// Phases are those of each generation that is to be drawn, oldest first. Empty: since when it is
	// in its present state is all that is known of a generation.
	Phases []Phase
}

// Phase is the time that a generation spent in one state.
type Phase struct {
	Generation int
	// State is "pending", "active" or "retired".
	State string
	From  time.Time
	// To is zero for the state that the generation is in.
	To time.Time
}

// phases are k's, each with both ends, up to now.
func (k *Keyset) phases(now time.Time) (list []Phase) {
	given := k.Phases
	if len(given) == 0 {
		for _, g := range k.Generations {
			given = append(given, Phase{Generation: g.Number, State: g.State, From: g.Since})
		}
	}
	for _, p := range given {
		if p.To.IsZero() || p.To.After(now) {
			p.To = now
		}
		if !p.From.IsZero() && !p.From.After(p.To) {
			list = append(list, p)
		}
	}
	return list
}

// removed reports whether an operator removed k, which is no trouble.
func (k *Keyset) removed() bool { return k.Mode == "removed" }
