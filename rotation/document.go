package rotation

import (
	"fmt"
	"slices"
	"time"

	"keysetd.example/hsm"
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
	for _, e := range d.Entries {
		if e.State != Pending && e.State != Active && e.State != Retired || e.Algorithm == "" {
			return fmt.Errorf("the entry for %q has the unknown state %q", e.Algorithm, e.State)
		}
	}
	for _, r := range d.Revoked {
		for _, g := range d.Generations {
			if slices.ContainsFunc(g.Keys, func(k Key) bool { return k.KID == r.KID && string(k.ID) == string(r.ID) }) {
				return fmt.Errorf("generation %d has key %s, which was revoked", g.Number, r.KID)
			}
		}
	}
	for _, i := range d.Intents {
		for _, o := range i.Objects {
			if i.Kind == Destroy && d.has(Key{Token: o.Token, ID: o.ID}) {
				return fmt.Errorf("key %x on token %s is to be destroyed, and a live generation has it", o.ID, o.Token)
			}
		}
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

// Pending returns the first pending generation that is not impaired.
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
	d.Entries = slices.Clone(d.Entries)
	d.Revoked = slices.Clone(d.Revoked)
	return d
}

// newest is the latest instant at which something of d happened. A clock that is behind
// it cannot be right.
func (d Document) newest() time.Time {
	t := d.StaleSince
	for _, g := range d.Generations {
		t = latest(t, g.Made, g.Published, g.Activated, g.Retired)
		for _, k := range g.Keys {
			t = latest(t, k.Certified.Shown, k.Certified.Renewed)
		}
	}
	for _, i := range d.Intents {
		t = latest(t, i.At)
	}
	for _, a := range d.Abandoned {
		t = latest(t, a.Begun, a.Since, a.Looked)
	}
	for _, e := range d.Entries {
		t = latest(t, e.Published, e.Retired)
	}
	for _, r := range d.Revoked {
		t = latest(t, r.At)
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

// has reports whether a live generation has this key.
func (d Document) has(k Key) bool {
	return slices.ContainsFunc(d.Generations, func(g Generation) bool {
		return slices.ContainsFunc(g.Keys, func(o Key) bool { return o.Token == k.Token && string(o.ID) == string(k.ID) })
	})
}

// encrypts reports whether the keys of d are such that others encrypt to.
func (d Document) encrypts() bool {
	return slices.ContainsFunc(d.Generations, func(g Generation) bool { return slices.ContainsFunc(g.Keys, Key.decrypts) })
}

// decrypts reports whether k is for decryption.
func (k Key) decrypts() bool { return k.Usage != "" && k.Usage != hsm.Sign }

// impaired reports whether a key of g is lost or was revoked.
func (g Generation) impaired() bool { return len(g.lost())+len(g.Revoked) > 0 }

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
