package rotation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// keyset is what the Manager knows of one keyset.
type keyset struct {
	name       string
	policy     Policy
	configured bool

	// The scheduler's alone.
	running bool // a worker has the rest
	woken   bool // it is to be looked at at once

	// The scheduler's, or the worker's while running.
	doc    Versioned
	stale  bool      // a Save failed: the store may hold another document
	dirty  bool      // the snapshot does not show doc yet
	failed failures  // what is to be tried again
	look   time.Time // when to look at it next
	shown  *Keyset   // as published last; nil before
	logged string    // the problem logged last
}

func newKeyset(name string, policy Policy) *keyset {
	return &keyset{
		name: name, policy: policy, configured: true, failed: failures{},
		doc: Versioned{Document: Document{Format: Format, Keyset: name}},
	}
}

// Two steps are the Manager's own: they make what Plan relies on true, and come alone.
var (
	stepLoad    = Step{Kind: "load"}
	stepPublish = Step{Kind: "show"}
)

// due returns the steps that are due for k, and when the next one will be.
func (k *keyset) due(obs Observation, now time.Time) (steps []Step, next time.Time) {
	switch {
	case k.stale:
		return []Step{stepLoad}, time.Time{}
	case k.dirty:
		return []Step{stepPublish}, time.Time{}
	case !k.configured:
		return nil, time.Time{}
	}
	return Plan(k.doc.Document, k.policy, obs, now)
}

// agenda returns the step that is to be done for k now, if any, and notes when to look next.
func (m *Manager) agenda(k *keyset, now time.Time) (Step, bool) {
	steps, next := k.due(m.observe(k, now), now)
	if len(steps) == 0 {
		clear(k.failed) // what failed is no longer wanted, or cannot be tried
	}
	step, work, wait := k.failed.first(steps, now)
	k.look = now.Add(maxSleep)
	for _, t := range []time.Time{next, wait} {
		if !t.IsZero() && t.Before(k.look) {
			k.look = t
		}
	}
	return step, work
}

// work does what is due for k until nothing is, and gives k back.
func (m *Manager) work(ctx context.Context, k *keyset) {
	for ctx.Err() == nil {
		step, work := m.agenda(k, clock())
		if !work {
			m.show(k)
			break
		}
		err := m.do(ctx, k, step)
		k.failed.note(step, err, clock())
		if err == nil && step != stepLoad && step != stepPublish {
			m.cfg.Logger.Info("rotation step done", "keyset", k.name, "step", string(step.Kind), "generation", step.Generation, "reason", step.Reason)
		}
	}
	select {
	case m.done <- k:
	case <-ctx.Done():
	}
}

// show publishes what readers should see differently of these keysets, and logs changes
// of their problems. One whose document is to be published is left to that step.
func (m *Manager) show(keysets ...*keyset) {
	now := clock()
	var changed []*Keyset
	var owners []*keyset
	for _, k := range keysets {
		v := m.view(k, now)
		m.logProblem(k, v.Problem)
		if k.dirty && !k.stale || k.shown.Problem == v.Problem && k.shown.Next.Equal(v.Next) {
			continue
		}
		changed, owners = append(changed, v), append(owners, k)
	}
	if len(changed) == 0 {
		return
	}
	err := m.publish(changed...)
	for i, k := range owners {
		if err == nil {
			k.shown = changed[i]
			continue
		}
		k.dirty = true
		k.failed.note(stepPublish, err, now)
		k.look = k.failed[stepPublish].at
		m.logProblem(k, changed[i].Problem)
	}
}

// logProblem logs a problem that was not there before, or that it is gone. That the page
// cannot be published belongs in the log alone: nothing can show it.
func (m *Manager) logProblem(k *keyset, problem string) {
	if f, ok := k.failed[stepPublish]; ok {
		problem = strings.TrimPrefix(problem+"; "+f.err.Error(), "; ")
	}
	switch problem {
	case k.logged:
		return
	case "":
		m.cfg.Logger.Info("keyset is well again", "keyset", k.name)
	default:
		m.cfg.Logger.Warn("keyset has a problem", "keyset", k.name, "problem", problem)
	}
	k.logged = problem
}

// view is k as readers should see it.
func (m *Manager) view(k *keyset, now time.Time) *Keyset {
	v := &Keyset{Name: k.name, Configured: k.configured, Policy: k.policy, Document: k.doc.Document}
	if !k.configured {
		v.Problem = "it is in the store and not in the configuration; it is served as stored and nothing is done to it: configure it again, or remove it"
		return v
	}
	obs := m.observe(k, now)
	steps, next := Plan(k.doc.Document, k.policy, obs, now)
	v.Next = next
	v.Problem = k.problem(steps, obs, now)
	return v
}

// problem says in one line what keeps k from what is due.
func (k *keyset) problem(steps []Step, obs Observation, now time.Time) string {
	var parts []string
	for _, s := range slices.SortedFunc(maps.Keys(k.failed), func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Generation, b.Generation))
	}) {
		if s != stepPublish {
			parts = append(parts, fmt.Sprintf("%v (it is tried again)", k.failed[s].err))
		}
	}
	if obs.ClockSuspect {
		parts = append(parts, fmt.Sprintf("the clock is behind %s, of which the store tells already; nothing is activated, retired or destroyed until it agrees: set the clock",
			k.doc.newest().Format(time.RFC3339)))
	}
	ideal := Observation{Up: map[string]bool{k.policy.Token: true}, ClockSuspect: obs.ClockSuspect}
	for _, g := range k.doc.Generations {
		for _, name := range g.tokens() {
			ideal.Up[name] = true
		}
	}
	for _, i := range k.doc.Intents {
		for _, name := range i.tokens() {
			ideal.Up[name] = true
		}
	}
	if wanted, _ := Plan(k.doc.Document, k.policy, ideal, now); len(wanted) > len(steps) {
		maps.DeleteFunc(ideal.Up, func(name string, _ bool) bool { return obs.Up[name] })
		down := slices.Sorted(maps.Keys(ideal.Up))
		parts = append(parts, fmt.Sprintf("token %s is down; until it is back nothing is made, activated or destroyed on it", strings.Join(down, ", ")))
	}
	return strings.Join(parts, "; ")
}
