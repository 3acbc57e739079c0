package rotation

import (
	"fmt"
	"slices"
	"time"
)

// Validate tells the first thing that cannot be in a document. Stores call it for what
// they read and for what they are about to write.
func (d Document) Validate() error {
	switch {
	case d.Format > Format:
		return fmt.Errorf("format %d is of a newer version of keysetd; this one knows %d", d.Format, Format)
	case d.Format != Format:
		return fmt.Errorf("format %d is unknown; this version knows %d", d.Format, Format)
	case d.Keyset == "":
		return fmt.Errorf("it names no keyset")
	}
	before, active := 0, 0
	for _, g := range d.Generations {
		switch {
		case g.Number <= before || g.Number > d.Last:
			return fmt.Errorf("generation %d stands after %d, and the last number given is %d", g.Number, before, d.Last)
		case g.State != Pending && g.State != Active && g.State != Retired:
			return fmt.Errorf("generation %d has the unknown state %q", g.Number, g.State)
		case len(g.Keys) == 0:
			return fmt.Errorf("generation %d has no keys", g.Number)
		}
		if before = g.Number; g.State == Active {
			active++
		}
	}
	if active > 1 {
		return fmt.Errorf("%d generations are active; there can be one", active)
	}
	for _, i := range d.Intents {
		if i.Kind != Generate && i.Kind != Destroy {
			return fmt.Errorf("the intent for generation %d is of the unknown kind %q", i.Generation, i.Kind)
		}
		if i.Generation < 1 || i.Generation > d.Last {
			return fmt.Errorf("an intent is for generation %d, and the last number given is %d", i.Generation, d.Last)
		}
	}
	for _, a := range d.Abandoned {
		if a.Generation < 1 || a.Generation > d.Last || len(a.ID) == 0 {
			return fmt.Errorf("an abandoned attempt (CKA_ID %x) is for generation %d, and the last number given is %d", a.ID, a.Generation, d.Last)
		}
	}
	return nil
}

// Find returns the live generation with this number.
func (d Document) Find(number int) (Generation, bool) {
	return d.first(func(g Generation) bool { return g.Number == number })
}

// Active returns the generation that signs.
func (d Document) Active() (Generation, bool) {
	return d.first(func(g Generation) bool { return g.State == Active })
}

// Pending returns the generation that is to sign next: the first pending one of which no
// key is lost.
func (d Document) Pending() (Generation, bool) {
	return d.first(func(g Generation) bool { return g.State == Pending && !g.impaired() })
}

func (d Document) first(is func(Generation) bool) (Generation, bool) {
	if i := slices.IndexFunc(d.Generations, is); i >= 0 {
		return d.Generations[i], true
	}
	return Generation{}, false
}

// clone copies what transitions change. Keys are shared: whoever marks one clones them.
func (d Document) clone() Document {
	d.Generations = slices.Clone(d.Generations)
	d.Intents = slices.Clone(d.Intents)
	d.Abandoned = slices.Clone(d.Abandoned)
	return d
}

// newest is the latest instant at which something of d happened. A clock that is behind
// it cannot be right.
func (d Document) newest() time.Time {
	var t time.Time
	for _, g := range d.Generations {
		t = latest(t, g.Made, g.Published, g.Activated, g.Retired)
	}
	for _, i := range d.Intents {
		t = latest(t, i.At)
	}
	for _, a := range d.Abandoned {
		t = latest(t, a.Since, a.Looked)
	}
	return t
}

// tokens that d names, sorted.
func (d Document) tokens() []string {
	var names []string
	for _, g := range d.Generations {
		names = append(names, g.tokens()...)
	}
	for _, i := range d.Intents {
		names = append(names, i.tokens()...)
	}
	for _, a := range d.Abandoned {
		names = append(names, a.Token)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// impaired reports whether a key of g is lost.
func (g Generation) impaired() bool { return len(g.lost()) > 0 }

func (g Generation) lost() []Key {
	var lost []Key
	for _, k := range g.Keys {
		if !k.Lost.IsZero() {
			lost = append(lost, k)
		}
	}
	return lost
}

// tokens that the keys of g are on.
func (g Generation) tokens() []string {
	var names []string
	for _, k := range g.Keys {
		names = append(names, k.Token)
	}
	return names
}

func (g Generation) kids() []string {
	var kids []string
	for _, k := range g.Keys {
		kids = append(kids, k.KID)
	}
	return kids
}

func (i Intent) tokens() []string {
	var names []string
	for _, o := range i.Objects {
		names = append(names, o.Token)
	}
	return names
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}
