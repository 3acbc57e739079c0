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
	// StepActivate: the pending generation becomes active and the active one retired.
	StepActivate StepKind = "activate"
	// StepSweep: an attempt to make a generation was left behind; destroy what there is of
	// it, then forget it.
	StepSweep StepKind = "sweep"
	// StepGenerate: make the next generation.
	StepGenerate StepKind = "generate"
	// StepWithdraw: take a retired generation off the page, and put down that its keys are
	// to be destroyed.
	StepWithdraw StepKind = "withdraw"
	// StepDestroy: destroy the keys of a generation that was withdrawn.
	StepDestroy StepKind = "destroy"
)

// Step is one thing to be done to a keyset.
type Step struct {
	Kind StepKind
	// Generation that it concerns; 0 where it concerns the page alone.
	Generation int
	// Reason says in a few words why it is due.
	Reason string
}

// String says what the step does, to which generation and why.
func (s Step) String() string {
	if s.Generation == 0 {
		return fmt.Sprintf("%s (%s)", s.Kind, s.Reason)
	}
	return fmt.Sprintf("%s generation %d (%s)", s.Kind, s.Generation, s.Reason)
}

// Observation is what Plan has to know of the world besides the document.
type Observation struct {
	// Up are the tokens that can be used now. One that is not named is down.
	Up map[string]bool
	// ClockSuspect: the clock cannot be right.
	ClockSuspect bool
}

func (o Observation) up(tokens ...string) bool {
	return !slices.ContainsFunc(tokens, func(name string) bool { return !o.Up[name] })
}

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
// which nobody knows whether it can, and take it from one that perhaps still does.
//
// While the clock is suspect nothing is done that depends on the time or records it.
func Plan(doc Document, policy Policy, obs Observation, now time.Time) (steps []Step, next time.Time) {
	add := func(kind StepKind, generation int, format string, args ...any) {
		steps = append(steps, Step{kind, generation, fmt.Sprintf(format, args...)})
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
	}
	if pending, at, ok := doc.activation(policy); trusted && ok && obs.up(pending.tokens()...) && due(at) {
		if active, signing := doc.Active(); signing {
			add(StepActivate, pending.Number, "the period of generation %d is over", active.Number)
		} else {
			add(StepActivate, pending.Number, "no generation is active")
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
	if _, pending := doc.Pending(); trusted && !pending && !attempt && obs.up(policy.Token) {
		add(StepGenerate, doc.Last+1, "no generation is pending")
	}
	for _, g := range doc.Generations {
		// A zero RetainUntil was a promise to stay until revoked, or is not settled yet.
		if !trusted || g.State != Retired || g.RetainUntil.IsZero() || policy.RetainUntilRevoked || !obs.up(g.tokens()...) {
			continue
		}
		if due(g.RetainUntil) {
			add(StepWithdraw, g.Number, "it was retained long enough")
		}
	}
	for _, i := range doc.Intents {
		if i.Kind == Destroy && trusted && obs.up(i.tokens()...) {
			add(StepDestroy, i.Generation, "it was taken off the page")
		}
	}
	return steps, next
}
