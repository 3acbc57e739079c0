package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The transitions of a document are pure: each returns a new document and the events that
// tell of it. The Manager saves these together and only then goes on from them.

// unsettled tells what has come true by the page showing d but is not put down yet, and
// for which generation; "" if nothing.
func (d Document) unsettled(policy Policy) (generation int, why string) {
	for _, g := range d.Generations {
		switch {
		case g.State != Retired && g.Published.IsZero():
			return g.Number, "the page shows it"
		case g.State == Retired && g.Retired.IsZero():
			return g.Number, "another one signs"
		case g.State == Retired && g.RetainUntil.IsZero() != g.kept(policy):
			return g.Number, "the configuration says otherwise how long it stays"
		case g.Lifetime < g.lifetime(policy):
			return g.Number, "what its keys are for may live longer"
		}
		if slices.ContainsFunc(g.Keys, func(k Key) bool { _, other := k.rechained(policy); return g.Static && other }) {
			return g.Number, "a key of it has another certificate chain"
		}
	}
	for _, e := range d.Entries {
		if len(d.Generations) > 0 && (e.State == Pending && e.Published.IsZero() || e.State == Retired && e.Retired.IsZero()) {
			return 0, fmt.Sprintf("the page shows %s", e.Algorithm)
		}
	}
	if d.Served != policy.freshness() {
		return 0, "the page's freshness is no longer what was put down"
	}
	if d.Farewell == nil || *d.Farewell != policy.farewell() {
		return 0, "how long its keys stay is no longer what was put down"
	}
	return 0, ""
}

// lifetime is what the Lifetime of g is to be at least. Others may still encrypt to a retired key,
// which signs no longer.
func (g Generation) lifetime(policy Policy) time.Duration {
	if g.State == Retired && !policy.Encrypts() {
		return g.Lifetime
	}
	return max(g.Lifetime, policy.guaranteed())
}

// kept reports whether a retired generation stays for no set time.
func (g Generation) kept(policy Policy) bool { return policy.RetainUntilRevoked || g.pinned(policy) }

// settle puts down that the page and the signers have shown d since now at the latest.
// marks are the watermarks of its generations.
//
// The bodies that verifiers may still hold are those of the page before, which was shown
// until now with at most the freshness in d.Served. The first page of all has none before
// it, and its keys may be used at once.
func (d Document) settle(policy Policy, marks map[int]time.Time, now time.Time) (Document, []Event) {
	d = d.clone()
	fresh, grown := policy.freshness(), d.grown(policy)
	// Their clocks may also be further off than was believed.
	skew := max(policy.ClockSkew, d.Served.ClockSkew)
	late := skew - d.Served.ClockSkew
	if policy.Encrypts() {
		late = grown // what counts is how long they use a page
	}
	before := now.Add(d.Served.Reach() + grown)
	usable, first := now, d.StaleUntil.IsZero()
	if !first {
		d.StaleUntil = d.StaleUntil.Add(grown)
		usable = latest(d.StaleUntil, before)
	}
	held := latest(d.StaleUntil, before) // until when anybody uses a page of before
	d, events := d.settleEntries(policy, marks, first, usable, grown, now)

	for i := range d.Generations {
		g := &d.Generations[i]
		if g.Static {
			g.Keys = slices.Clone(g.Keys)
			for j := range g.Keys {
				if chain, other := g.Keys[j].rechained(policy); other {
					g.Keys[j].Chain, g.Keys[j].Certified = chain, Certified{}
				}
			}
		}
		longer := g.lifetime(policy) - g.Lifetime
		g.Lifetime += longer
		switch {
		case g.State != Retired && g.Published.IsZero(): // an active one, if an operator accepted that
			g.Published, g.UsableFrom = now, usable
			if policy.Encrypts() { // nobody is to know it before it is active
				g.UsableFrom = now
			}
			d.stale(usable, now)
			events = append(events, event(eventPublished, g.Number, g.kids(), now, ""))
		case g.State == Pending:
			g.UsableFrom = g.UsableFrom.Add(grown)
			g.Keys = knownLater(g.Keys, grown)
		case g.State == Retired && g.Retired.IsZero():
			g.Retired = now
			events = append(events, event(eventRetired, g.Number, g.kids(), now, ""))
		}
		if g.State == Pending {
			g.Keys = d.settleChains(*g, policy, held, now)
		}
		switch {
		case g.State != Retired:
		case g.kept(policy):
			g.RetainUntil = time.Time{}
		case g.RetainUntil.IsZero() && policy.Encrypts():
			g.RetainUntil = latest(now.Add(policy.Retain), held.Add(g.Lifetime))
		case g.RetainUntil.IsZero():
			g.RetainUntil = now.Add(max(policy.Retain, g.Lifetime+skew))
		default:
			g.RetainUntil = g.RetainUntil.Add(late + longer)
		}
	}
	if len(d.Generations) > 0 && d.StaleUntil.IsZero() {
		d.stale(now, now) // there is a page
	}
	// Also a first page not put down yet may have been served, by a daemon that crashed.
	if d.Served != fresh && (!first || len(d.Generations) > 0) {
		d.stale(before, now)
	}
	terms := policy.farewell()
	d.Served, d.Farewell = fresh, &terms
	for i, g := range d.Generations {
		if g.State == Pending {
			d.Generations[i].Keys = d.leftPage(g, policy, now)
		}
	}
	return d, events
}

// stale puts down that pages of before may be used until then.
func (d *Document) stale(until, now time.Time) {
	if until.After(d.StaleUntil) {
		d.StaleUntil, d.StaleSince = until, now
	}
}

// settleEntries does so for the algorithms' own kids.
func (d Document) settleEntries(policy Policy, marks map[int]time.Time, first bool, usable time.Time, grown time.Duration, now time.Time) (Document, []Event) {
	var events []Event
	if len(d.Generations) == 0 {
		return d, nil // there is no page
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		if e.State != Active && !e.Published.IsZero() {
			e.UsableFrom = e.UsableFrom.Add(grown) // a retired one may be wanted again
		}
		switch {
		case e.State == Pending && e.Published.IsZero():
			e.Published, e.UsableFrom = now, usable
			if first {
				e.State = Active
				events = append(events, event(eventEntry, 0, nil, now, fmt.Sprintf("%s has a kid of its own from the first page on", e.Algorithm)))
			}
			d.stale(usable, now)
		case e.State == Retired && e.Retired.IsZero():
			e.Retired = now
			life, skew := policy.MaxTokenLifetime, max(policy.ClockSkew, d.Served.ClockSkew)
			for _, g := range d.Generations {
				life = max(life, g.Lifetime)
				e.RetainUntil = latest(e.RetainUntil, marks[g.Number].Add(skew))
			}
			e.RetainUntil = latest(e.RetainUntil, now.Add(max(policy.Retain, life+skew)))
		case e.State == Retired:
			e.RetainUntil = e.RetainUntil.Add(max(0, policy.ClockSkew-d.Served.ClockSkew))
		}
	}
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
func (d Document) made(number int, keys []Key, policy Policy, now time.Time) (Document, []Event) {
	d = d.drop(Generate, number)
	g := Generation{Number: number, State: Pending, Keys: keys, Made: now, Lifetime: policy.guaranteed()}
	// A later one may have come meanwhile, by adoption.
	i, _ := slices.BinarySearchFunc(d.Generations, number, func(g Generation, n int) int { return cmp.Compare(g.Number, n) })
	d.Generations = slices.Insert(d.Generations, i, g)
	return d, []Event{event(eventMade, number, g.kids(), now, "")}
}

// activate makes a pending generation the one that signs, and retires the one before, and
// with it those that should have come earlier but are impaired. Since when that one no
// longer signs is for settle to say.
func (d Document) activate(number int, policy Policy, tell Event) (Document, []Event) {
	scheduled := d.scheduled(policy, tell.At)
	d = d.clone()
	d.AcceptUnpublished = false
	for i := range d.Generations {
		switch g := &d.Generations[i]; {
		case g.Number == number:
			g.State, g.Activated, g.Scheduled = Active, tell.At, scheduled
			tell.What, tell.Generation, tell.KIDs = eventActivated, number, g.kids()
		case g.State == Active, g.State == Pending && g.Number < number && g.impaired():
			g.State = Retired
		}
	}
	return d, []Event{tell}
}

// dismiss retires a pending generation that is no longer wanted.
func (d Document) dismiss(number int, now time.Time) (Document, []Event) {
	d = d.clone()
	i := d.index(number)
	d.Generations[i].State, d.Generations[i].Dismissed = Retired, true
	return d, []Event{event(eventDismissed, number, d.Generations[i].kids(), now, "the configuration no longer wants it")}
}

// withdraw takes a generation off the page and puts down that its keys are to go, if they
// are ours, and ours alone: the administrator may have named one as static since.
func (d Document) withdraw(number int, now time.Time) (Document, []Event) {
	d = d.clone()
	i := d.index(number)
	g := d.Generations[i]
	d.Generations = slices.Delete(d.Generations, i, i+1)
	if !g.Static {
		for _, k := range g.Keys {
			if !d.has(k) {
				d = d.destroyLater(number, k.attempt(), false, now)
			}
		}
	}
	return d, []Event{event(eventWithdrawn, number, g.kids(), now, "")}
}

// destroyLater puts down that a key is to be destroyed. Those that were revoked have an intent of their
// own, which comes first: it waits for no clock, and others do.
func (d Document) destroyLater(number int, o Attempt, revoked bool, now time.Time) Document {
	i := slices.IndexFunc(d.Intents, func(i Intent) bool {
		return i.Kind == Destroy && i.Generation == number && i.Revoked == revoked
	})
	if i < 0 {
		d.Intents = append(d.Intents, Intent{Kind: Destroy, Generation: number, At: now, Objects: []Attempt{o}, Revoked: revoked})
		return d
	}
	intent := &d.Intents[i]
	intent.Objects = append(slices.Clone(intent.Objects), o)
	return d
}

// attempt names k as an intent does.
func (k Key) attempt() Attempt {
	return Attempt{Token: k.Token, Spec: k.Spec, ID: k.ID, Label: k.Label, KID: k.KID}
}

// destroyed forgets keys of a generation that are gone from their token.
func (d Document) destroyed(number int, gone []Attempt, now time.Time) (Document, []Event) {
	d = d.clone()
	var kids []string
	for _, o := range gone {
		kids = append(kids, o.KID)
	}
	for i := range d.Intents {
		if intent := &d.Intents[i]; intent.Kind == Destroy && intent.Generation == number {
			intent.Objects = slices.DeleteFunc(slices.Clone(intent.Objects), func(o Attempt) bool {
				return slices.ContainsFunc(gone, func(g Attempt) bool { return g.Token == o.Token && string(g.ID) == string(o.ID) })
			})
		}
	}
	d = d.without(func(i Intent) bool { return i.Kind == Destroy && i.Generation == number && len(i.Objects) == 0 })
	return d, []Event{event(eventDestroyed, number, kids, now, "")}
}

func (d Document) intent(kind IntentKind, number int) (Intent, bool) {
	i := slices.IndexFunc(d.Intents, func(i Intent) bool { return i.Kind == kind && i.Generation == number })
	if i < 0 {
		return Intent{}, false
	}
	return d.Intents[i], true
}

func (d Document) drop(kind IntentKind, number int) Document {
	return d.without(func(i Intent) bool { return i.Kind == kind && i.Generation == number })
}

func (d Document) without(done func(Intent) bool) Document {
	d.Intents = slices.DeleteFunc(slices.Clone(d.Intents), done)
	if len(d.Intents) == 0 {
		d.Intents = nil // as it is read from a store
	}
	return d
}

// index of a live generation.
func (d Document) index(number int) int {
	return slices.IndexFunc(d.Generations, func(g Generation) bool { return g.Number == number })
}

// conflict tells why policy cannot be followed with the keys that d has, or "".
func (d Document) conflict(policy Policy) string {
	for _, g := range d.Generations {
		for _, k := range g.Keys {
			if k.decrypts() != policy.Encrypts() {
				return "its purpose cannot change between enc and the others, as its keys are made for one of them: give the new purpose a keyset of another name"
			}
		}
	}
	return ""
}
