package rotation

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// keyset is what the Manager knows of one keyset. Whoever reads or changes it holds mu, and
// lets go of it for as long as a token works (see away): an operator's revocation waits for no
// token.
type keyset struct {
	name string

	mu         sync.Mutex
	policy     Policy
	configured bool
	running    bool // a worker is at it
	woken      bool // it is to be looked at at once

	doc    Versioned
	stale  bool      // a Save failed: the store may hold another document
	dirty  bool      // the snapshot does not show doc yet
	failed failures  // what is to be tried again
	look   time.Time // when to look at it next
	shown  *Keyset   // as published last; nil before
	logged string    // the problem logged last

	effect  uint64               // its latest on a token, in the Manager's count
	counted map[string]time.Time // the epoch in which doc was last compared with each token's inventory
	listed  time.Time            // when it was compared last
	strays  map[string][]string  // what each inventory had that doc knows nothing of
	ahead   map[string]bool      // the tokens with keys whose numbers doc never gave
	ended   map[string]bool      // by CKA_ID: attempts on record that surely ended; any other may not have
	alarmed map[string]bool      // by CKA_ID: the lost keys of which an alarm was raised
	lapsed  []string             // kids of keys of whose chains an alarm was raised
	warned  []string             // the warnings logged last

	marks watermarks
}

func newKeyset(name string) *keyset {
	return &keyset{
		name: name, failed: failures{},
		doc:     Versioned{Document: Document{Format: Format, Keyset: name}},
		counted: map[string]time.Time{}, strays: map[string][]string{}, ahead: map[string]bool{}, ended: map[string]bool{}, alarmed: map[string]bool{},
		marks: watermarks{writing: make(chan struct{}, 1)},
	}
}

// away lets go of k while f works on a token. What k is may be another thing afterwards.
func (k *keyset) away(f func()) {
	k.mu.Unlock()
	defer k.mu.Lock()
	f()
}

// rules returns the policy that k follows: that of the configuration, or that by which a
// removed keyset goes. follows is false for one that merely vanished from the configuration, or
// that the configuration wants to be what it cannot be.
func (k *keyset) rules() (policy Policy, follows bool) {
	switch {
	case k.configured:
		return k.policy, k.doc.conflict(k.policy) == ""
	case !k.doc.Removed.IsZero():
		return k.doc.farewell(), true
	}
	return Policy{}, false
}

// gone reports whether d is only the memory of a keyset that was removed.
func (d Document) gone() bool {
	return !d.Removed.IsZero() && len(d.Generations)+len(d.Intents)+len(d.Abandoned) == 0
}

// Some steps are the Manager's own: they make what Plan relies on true, and come alone.
var (
	stepLoad    = Step{Kind: "load"}
	stepPublish = Step{Kind: "show"}
	stepRestore = Step{Kind: "restore"}
)

// due returns the steps that are due for k, and when the next one will be. hidden are the kids whose chains are
// not to be on the page.
func (k *keyset) due(obs Observation, hidden []string, now time.Time) (steps []Step, next time.Time) {
	policy, follows := k.rules()
	switch {
	case k.stale:
		return []Step{stepLoad}, time.Time{}
	case k.dirty, k.shown != nil && !slices.Equal(k.shown.hidden, hidden):
		return []Step{stepPublish}, time.Time{}
	case !follows:
		return nil, time.Time{}
	case k.configured && !k.doc.Removed.IsZero():
		return []Step{stepRestore}, time.Time{}
	}
	return Plan(k.doc.Document, policy, obs, now)
}

// never is when a keyset is looked at of which nothing is due by time, unless it is woken.
const never = 24 * time.Hour

// agenda returns the step that is to be done for k now, if any, and notes when to look next.
func (m *Manager) agenda(k *keyset, now time.Time) (Step, bool) {
	m.recount(k, now)
	steps, next := k.due(m.observe(k, now), k.watchChains(m.reckon(k, now)).hidden, now)
	if len(steps) == 0 {
		clear(k.failed) // what failed is no longer wanted, or cannot be tried
	}
	step, work, wait := k.failed.first(steps, now)
	k.look = now.Add(never)
	switch {
	case k.doc.lost():
		k.look = now.Add(recountAfter)
	case m.clockTrouble(k, now) != "":
		k.look = now.Add(maxSleep)
	}
	for _, t := range []time.Time{next, wait, m.chainsChange(k, now)} {
		if !t.IsZero() && t.Before(k.look) {
			k.look = t
		}
	}
	return step, work
}

// work does what is due for k until nothing is.
func (m *Manager) work(ctx context.Context, k *keyset) {
	k.mu.Lock()
	defer m.poke()
	defer k.mu.Unlock()
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
	k.running = false
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
		m.alarmChains(k)
		m.logWarnings(k, v.Warnings)
		if k.dirty && !k.stale || k.shown.says(v) {
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
