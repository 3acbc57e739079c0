package rotation

import (
	"fmt"
	"slices"
	"time"
)

// The transitions of a document are pure: each returns a new document and the events that
// tell of it. The Manager saves these together and only then goes on from them.

const bySchedule = "schedule"

func event(what string, generation int, kids []string, now time.Time, why string) Event {
	return Event{At: now, What: what, Generation: generation, KIDs: kids, By: bySchedule, Why: why}
}

// unsettled tells what has come true by the page showing d but is not put down yet, and
// for which generation; "" if nothing.
func (d Document) unsettled(policy Policy) (generation int, why string) {
	for _, g := range d.Generations {
		switch {
		case g.State == Pending && g.Published.IsZero():
			return g.Number, "the page shows it"
		case g.State == Retired && g.Retired.IsZero():
			return g.Number, "another one signs"
		}
	}
	if d.Served != policy.freshness() {
		return 0, "the page's freshness is no longer what was put down"
	}
	return 0, ""
}

// settle puts down that the page and the signers have shown d since now at the latest.
//
// The bodies that verifiers may still hold are those of the page before, which was shown
// until now with at most the freshness in d.Served. The first page of all has none before
// it, and its keys may be used at once.
func (d Document) settle(policy Policy, now time.Time) (Document, []Event) {
	d = d.clone()
	fresh := policy.freshness()
	// If verifiers are now said to keep bodies longer than was believed, they do so with
	// those they hold already.
	grown := max(0, fresh.slack()-d.Served.slack())
	before := now.Add(d.Served.Reach() + grown)
	usable, first := now, d.StaleUntil.IsZero()
	if !first {
		d.StaleUntil = d.StaleUntil.Add(grown)
		usable = latest(d.StaleUntil, before)
	}

	var events []Event
	for i := range d.Generations {
		g := &d.Generations[i]
		switch {
		case g.State == Pending && g.Published.IsZero():
			g.Published, g.UsableFrom = now, usable
			d.StaleUntil = latest(d.StaleUntil, usable)
			events = append(events, event("published", g.Number, g.kids(), now, ""))
		case g.State == Pending:
			g.UsableFrom = g.UsableFrom.Add(grown)
		case g.State == Retired && g.Retired.IsZero():
			g.Retired = now
			if !policy.RetainUntilRevoked {
				g.RetainUntil = now.Add(policy.Retain)
			}
			events = append(events, event("retired", g.Number, g.kids(), now, ""))
		}
	}
	// Also a first page not put down yet may have been served, by a daemon that crashed.
	if d.Served != fresh && (!first || len(d.Generations) > 0) {
		d.StaleUntil = latest(d.StaleUntil, before)
	}
	d.Served = fresh
	return d, events
}

// begin records an attempt to make the next generation. Its number is used up, whatever
// becomes of it.
func (d Document) begin(objects []Attempt, now time.Time) Document {
	d = d.clone()
	d.Last++
	d.Intents = append(d.Intents, Intent{Kind: Generate, Generation: d.Last, At: now, Objects: objects})
	return d
}

// made replaces the attempt to make a generation by the pending generation. It is not
// published before settle says so.
func (d Document) made(number int, keys []Key, now time.Time) (Document, []Event) {
	d = d.drop(Generate, number)
	g := Generation{Number: number, State: Pending, Keys: keys, Made: now}
	d.Generations = append(d.Generations, g)
	return d, []Event{event("made", number, g.kids(), now, "")}
}

// activate makes a pending generation the one that signs, and retires the one before, and
// with it those that should have come earlier but have lost a key. Since when that one no
// longer signs is for settle to say.
func (d Document) activate(number int, now time.Time) (Document, []Event) {
	why := ""
	if active, ok := d.Active(); ok && active.impaired() {
		why = fmt.Sprintf("generation %d has lost a key", active.Number)
	}
	d = d.clone()
	var events []Event
	for i := range d.Generations {
		switch g := &d.Generations[i]; {
		case g.Number == number:
			g.State, g.Activated = Active, now
			events = append(events, event("activated", number, g.kids(), now, why))
		case g.State == Active, g.State == Pending && g.Number < number && g.impaired():
			g.State = Retired
		}
	}
	return d, events
}

// withdraw takes a generation off the page and puts down that its keys are to go.
func (d Document) withdraw(number int, now time.Time) (Document, []Event) {
	d = d.clone()
	i := slices.IndexFunc(d.Generations, func(g Generation) bool { return g.Number == number })
	g := d.Generations[i]
	intent := Intent{Kind: Destroy, Generation: number, At: now}
	for _, k := range g.Keys {
		intent.Objects = append(intent.Objects, Attempt{Token: k.Token, Spec: k.Spec, ID: k.ID, Label: k.Label, KID: k.KID})
	}
	d.Generations = slices.Delete(d.Generations, i, i+1)
	d.Intents = append(d.Intents, intent)
	return d, []Event{event("withdrawn", number, g.kids(), now, "")}
}

// destroyed forgets a generation whose keys are gone.
func (d Document) destroyed(number int, now time.Time) (Document, []Event) {
	var kids []string
	if i, ok := d.intent(Destroy, number); ok {
		for _, o := range i.Objects {
			kids = append(kids, o.KID)
		}
	}
	return d.drop(Destroy, number), []Event{event("destroyed", number, kids, now, "")}
}

func (d Document) intent(kind IntentKind, number int) (Intent, bool) {
	i := slices.IndexFunc(d.Intents, func(i Intent) bool { return i.Kind == kind && i.Generation == number })
	if i < 0 {
		return Intent{}, false
	}
	return d.Intents[i], true
}

func (d Document) drop(kind IntentKind, number int) Document {
	d = d.clone()
	d.Intents = slices.DeleteFunc(d.Intents, func(i Intent) bool { return i.Kind == kind && i.Generation == number })
	if len(d.Intents) == 0 {
		d.Intents = nil // as it is read from a store
	}
	return d
}
