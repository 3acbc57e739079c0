package rotation

import (
	"fmt"
	"slices"
	"time"
)

// StepKind says what a step does.
type StepKind string

// The kinds of step, in the order in which Plan lists those that are due together: first
// what only the store is needed for, then what keeps the keyset signing, then what may wait.
const (
	// StepSettle: the page shows the document; put down since when.
	StepSettle StepKind = "settle"
	// StepInventory: compare the document with what is on the token, and mark keys that are lost.
	StepInventory StepKind = "inventory"
	// StepActivate: the pending generation becomes active and the active one retired.
	StepActivate StepKind = "activate"
	// StepEntries: bring the algorithms' own kids to where they should be.
	StepEntries StepKind = "entries"
	// StepDismiss: a pending generation is no longer wanted; retire it.
	StepDismiss StepKind = "dismiss"
	// StepSweep: an attempt to make a generation was left behind; destroy what there is of
	// it, then record what may come of it yet as abandoned.
	StepSweep StepKind = "sweep"
	// StepGenerate: make the next generation.
	StepGenerate StepKind = "generate"
	// StepAdopt: make the administrator's keys on the token the next generation.
	StepAdopt StepKind = "adopt"
	// StepRenew: have the issuer certify keys anew, whose chains end.
	StepRenew StepKind = "renew"
	// StepWithdraw: take a retired generation off the page, and put down that its keys are
	// to be destroyed.
	StepWithdraw StepKind = "withdraw"
	// StepDestroy: destroy the keys of a generation that was withdrawn.
	StepDestroy StepKind = "destroy"
	// StepPurge: look for what abandoned attempts left on the token meanwhile, and destroy it.
	StepPurge StepKind = "purge"
)

// Step is one thing to be done to a keyset.
type Step struct {
	Kind StepKind
	// Generation that it concerns; 0 where it concerns the page alone, or a token.
	Generation int
	// Token that StepInventory and StepPurge concern.
	Token string
	// Reason says in a few words why it is due.
	Reason string
}

// String says what the step does, to which generation and why.
func (s Step) String() string {
	switch {
	case s.Token != "":
		return fmt.Sprintf("%s token %s (%s)", s.Kind, s.Token, s.Reason)
	case s.Generation == 0:
		return fmt.Sprintf("%s (%s)", s.Kind, s.Reason)
	}
	return fmt.Sprintf("%s generation %d (%s)", s.Kind, s.Generation, s.Reason)
}

// Observation is what Plan has to know of the world besides the document.
type Observation struct {
	// Up are the tokens that can be used now, and when the epoch that is up began. One that
	// is not named is down.
	Up map[string]time.Time
	// Counted are the tokens whose inventory was compared with the document in that epoch.
	Counted map[string]bool
	// ClockSuspect: the clock cannot be right.
	ClockSuspect bool
	// Ahead: a token has keys of this keyset with numbers that the document never gave. The store
	// is an old one, or was lost, and nothing is made beside them (invariant 5).
	Ahead bool
	// Watermarks are until when a token may be valid that a generation signed, where that is
	// later than the document guarantees.
	Watermarks map[int]time.Time
}

// up reports whether all of these tokens can be used.
func (o Observation) up(tokens ...string) bool {
	return !slices.ContainsFunc(tokens, func(name string) bool { _, up := o.Up[name]; return !up })
}

// counted reports whether all of these can be used, and it is known what is on them.
func (o Observation) counted(tokens ...string) bool {
	return o.up(tokens...) && !slices.ContainsFunc(tokens, func(name string) bool { return !o.Counted[name] })
}

// maxPending bounds how many generations wait to become active. There is more than one only
// where those before have lost a key.
const maxPending = 3

// Plan returns the steps that are due now, in the order in which they should be done, and
// the earliest later instant at which it would return more (zero: there is none). The
// same arguments give the same answer.
//
// Two things must hold. The JWKS page and the signers show doc already, so that what doc
// says without a time for it has happened by now. And no step on this keyset is under
// way, so that every intent in doc was left behind.
//
// Whoever carries the steps out does the first one and asks again. So after a month
// asleep they come one by one, and a generation made late still waits for its verifiers.
//
// While a token is down nothing is made or destroyed on it, and no generation leaves the
// page, as verifiers lose nothing by a key too many. Nor is a generation activated whose
// keys are on it: that needs no call to the token, but it would give signing to a key of
// which nobody knows whether it can, and take it from one that perhaps still does. A token
// that came up counts as down until its inventory tells what is on it.
//
// While the clock is suspect nothing is done that depends on the time or records it, except
// that inventories are taken and revoked keys destroyed.
//
// In a freeze nothing is activated because of the calendar or the configuration, and nothing leaves the page.
func Plan(doc Document, policy Policy, obs Observation, now time.Time) (steps []Step, next time.Time) {
	add := func(kind StepKind, generation int, format string, args ...any) {
		steps = append(steps, Step{Kind: kind, Generation: generation, Reason: fmt.Sprintf(format, args...)})
	}
	// due reports whether t is reached, which at t itself it is; and remembers it for next if not.
	due := func(t time.Time) bool {
		if !now.Before(t) {
			return true
		}
		if next.IsZero() || t.Before(next) {
			next = t
		}
		return false
	}
	trusted := !obs.ClockSuspect

	if generation, why := doc.unsettled(policy); trusted && why != "" {
		add(StepSettle, generation, "%s", why)
	} else if g := doc.unsettledChains(policy, now, due); trusted && g > 0 {
		add(StepSettle, g, "a certificate of it came onto the page or left it")
	}
	names := doc.tokens()
	if !slices.Contains(names, policy.Token) {
		names = append(names, policy.Token)
	}
	for _, name := range names {
		if obs.up(name) && !obs.Counted[name] {
			steps = append(steps, Step{Kind: StepInventory, Token: name, Reason: "it came up"})
		}
	}
	if a, ok := doc.activation(policy); trusted && ok && obs.counted(a.tokens()...) && !a.lapsed(now) && due(a.at) {
		add(StepActivate, a.Number, "%s", a.why)
	}
	if trusted && doc.Removed.IsZero() {
		if why := doc.entriesDue(policy, due); why != "" {
			add(StepEntries, 0, "%s", why)
		}
		if g, ok := doc.dismissible(policy, due); ok {
			add(StepDismiss, g.Number, "the configuration no longer wants it")
		}
	}
	// An attempt of unknown end on the token blocks the next one there, or a token that
	// fails halfway would be filled with what nobody uses.
	attempt := false
	for _, i := range doc.Intents {
		if i.Kind != Generate {
			continue
		}
		attempt = attempt || slices.Contains(i.tokens(), policy.Token)
		if obs.up(i.tokens()...) {
			add(StepSweep, i.Generation, "an attempt to make it was not finished")
		}
	}
	if trusted && obs.counted(policy.Token) && doc.Removed.IsZero() {
		switch adopts, why := doc.adoption(policy); {
		case adopts != "":
			add(StepAdopt, doc.Last+1, "%s", why)
		case !policy.static() && !attempt && !obs.Ahead && doc.needsNext(policy) && doc.mayAttempt(policy):
			add(StepGenerate, doc.Last+1, "no generation is pending")
		}
	}
	for _, g := range doc.Generations {
		if trusted && obs.counted(g.tokens()...) && len(doc.renewable(g, policy, due)) > 0 {
			add(StepRenew, g.Number, "a certificate of it is to be renewed")
		}
	}
	for _, g := range doc.Generations {
		// A zero RetainUntil is a promise to stay, or is not settled yet.
		if !trusted || g.State != Retired || g.RetainUntil.IsZero() || g.kept(policy) || !obs.counted(g.tokens()...) {
			continue
		}
		mark := obs.Watermarks[g.Number]
		if !mark.IsZero() {
			mark = mark.Add(policy.ClockSkew)
		}
		if due(latest(g.RetainUntil, doc.FrozenUntil, mark)) {
			add(StepWithdraw, g.Number, "it was retained long enough")
		}
	}
	for _, i := range doc.Intents {
		if i.Kind == Destroy && (trusted || i.Revoked) && obs.counted(i.tokens()...) {
			if i.Revoked {
				add(StepDestroy, i.Generation, "it was revoked")
			} else {
				add(StepDestroy, i.Generation, "it was taken off the page")
			}
		}
	}
	for _, name := range names {
		if began, up := obs.Up[name]; up && trusted && doc.purgeDue(name, began, due) {
			steps = append(steps, Step{Kind: StepPurge, Token: name, Reason: "abandoned attempts may have been finished late"})
		}
	}
	return steps, next
}

// needsNext reports whether there is no generation to become active next, and another one
// may be made: not one after the other for a token that loses each.
func (d Document) needsNext(policy Policy) bool {
	if d.dismissed() >= maxDismissed {
		return false
	}
	waiting := 0
	for _, g := range d.Generations {
		if g.State == Pending && g.fits(policy) {
			if !g.impaired() {
				return false
			}
			waiting++
		}
	}
	return waiting < maxPending
}

// maxDismissed bounds how many generations stay published that never signed: a configuration
// that is changed to and fro would fill token and page.
const maxDismissed = 16

func (d Document) dismissed() (n int) {
	for _, g := range d.Generations {
		if g.Dismissed {
			n++
		}
	}
	return n
}

// mayAttempt reports whether the record has room for what may become of one more attempt.
func (d Document) mayAttempt(policy Policy) bool {
	return len(d.abandonedOn(policy.Token))+len(policy.Specs) <= maxAbandoned
}

// purgeDue asks for each abandoned attempt on a token whether it is due to be looked for,
// and reports whether one is.
func (d Document) purgeDue(token string, began time.Time, due func(time.Time) bool) (any bool) {
	for _, a := range d.abandonedOn(token) {
		if due(a.lookAt(began)) {
			any = true
		}
	}
	return any
}
