package rotation

import (
	"context"
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

	effect  uint64               // its latest on a token, in the Manager's count
	counted map[string]time.Time // the epoch in which doc was last compared with each token's inventory
	strays  map[string][]string  // what each inventory had that doc knows nothing of
	ended   map[string]bool      // by CKA_ID: attempts on record that surely ended; any other may not have
	alarmed map[string]bool      // by CKA_ID: the lost keys of which an alarm was raised
}

func newKeyset(name string) *keyset {
	return &keyset{
		name: name, failed: failures{},
		doc:     Versioned{Document: Document{Format: Format, Keyset: name}},
		counted: map[string]time.Time{}, strays: map[string][]string{}, ended: map[string]bool{}, alarmed: map[string]bool{},
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
		if err == nil {
			m.logStep(ctx, k, step)
		}
	}
	select {
	case m.done <- k:
	case <-ctx.Done():
	}
}

// logStep logs a step that was done. Those of every epoch are for who looks closely.
func (m *Manager) logStep(ctx context.Context, k *keyset, s Step) {
	switch {
	case s == stepLoad, s == stepPublish:
	case s.Kind == StepSettle:
		m.cfg.Logger.DebugContext(ctx, "rotation step done", "keyset", k.name, "step", string(s.Kind), "generation", s.Generation, "reason", s.Reason)
	case s.Token != "":
		m.cfg.Logger.DebugContext(ctx, "rotation step done", "keyset", k.name, "step", string(s.Kind), "token", s.Token, "reason", s.Reason)
	default:
		m.cfg.Logger.InfoContext(ctx, "rotation step done", "keyset", k.name, "step", string(s.Kind), "generation", s.Generation, "reason", s.Reason)
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
