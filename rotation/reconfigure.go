package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Change is another configuration of the keysets.
type Change struct {
	// Keysets are all keysets of the configuration, defaults filled in.
	Keysets map[string]Policy
	// Remove names keysets that Keysets does not have and that are to go. One that is missing
	// and not named here makes the change refused.
	Remove []string
	// Act says who changes it.
	Act Act
}

// Effect is what a Change does to one keyset, in one line for people.
type Effect struct {
	Keyset string
	What   string
	At     time.Time // when it takes effect for callers; zero where at once, or by hand
}

// Preview tells what a change would do, and does nothing. An error is what Reconfigure would
// return, and a *Refusal where the change itself is at fault.
func (m *Manager) Preview(c Change) ([]Effect, error) {
	m.changing.Lock()
	defer m.changing.Unlock()
	defer m.lockAll()()
	return m.consider(c)
}

// Reconfigure puts a change in force, all of it or nothing. publish is called once in place of the
// Manager's own, with the first snapshot under the new policies; when it fails
// everything is as it was. What follows from the change is done step by step afterwards, as every
// day; only what is removed is put down at once.
func (m *Manager) Reconfigure(ctx context.Context, c Change, publish func(*Snapshot) error) ([]Effect, error) {
	m.changing.Lock()
	defer m.changing.Unlock()
	defer m.Wake()
	unlock := m.lockAll()
	effects, err := m.consider(c)
	if err == nil {
		err = m.swap(c, publish)
	}
	unlock()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range c.Remove {
		errs = append(errs, m.remove(ctx, name, c.Act))
	}
	return effects, errors.Join(errs...)
}

// lockAll locks all keysets, and returns what unlocks them.
func (m *Manager) lockAll() (unlock func()) {
	list := m.list()
	for _, k := range list {
		k.mu.Lock()
	}
	return func() {
		for _, k := range list {
			k.mu.Unlock()
		}
	}
}

// swap makes the policies of c those in force, and readers see it. All keysets are locked.
func (m *Manager) swap(c Change, publish func(*Snapshot) error) error {
	type before struct {
		policy     Policy
		configured bool
	}
	were, byName := map[*keyset]before{}, map[string]*keyset{}
	for _, k := range m.list() {
		byName[k.name], were[k] = k, before{k.policy, k.configured}
		policy, configured := c.Keysets[k.name]
		if configured || k.configured { // whoever leaves has still to know how
			k.configured = configured
		}
		if configured {
			k.policy = policy
		}
	}
	for name, policy := range c.Keysets {
		if byName[name] == nil {
			k := newKeyset(name)
			k.policy, k.configured = policy, true
			byName[name] = k
		}
	}
	now := clock()
	var views []*Keyset
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		views = append(views, m.view(byName[name], now))
	}
	if err := m.publishBy(publish, views...); err != nil {
		for k, was := range were {
			k.policy, k.configured = was.policy, was.configured
		}
		return err
	}
	for _, v := range views {
		k := byName[v.Name]
		k.shown, k.dirty, k.woken = v, k.stale, true
		m.logProblem(k, v.Problem)
		m.logWarnings(k, v.Warnings)
	}
	m.arrange(byName)
	return nil
}

// remove puts down that a keyset that is no longer configured is to go.
func (m *Manager) remove(ctx context.Context, name string, act Act) error {
	k, err := m.managed(ctx, name, "removing")
	if refused, ok := errors.AsType[*Refusal](err); ok && refused.Kind == RefusedUnknownKeyset {
		return nil // it is gone
	}
	if err != nil {
		return err
	}
	defer k.mu.Unlock()
	doc, events := k.doc.remove(act, k.policy, clock())
	if len(events) == 0 {
		return nil
	}
	if err := m.put(ctx, k, doc, events...); err != nil {
		return fmt.Errorf("removing keyset %s: it signs no longer, but that it is removed could not be put down; do it again: %w", name, err)
	}
	return nil
}

// leaves tells when the last key of k would leave the page, were it removed now.
func (k *keyset) leaves(now time.Time) string {
	doc, _ := k.doc.remove(Act{}, k.policy, now)
	last := time.Time{}
	play(doc, doc.farewell(), Observation{Watermarks: k.marks.all()}, now, func(at time.Time, s Step, _ Document) bool {
		if s.Kind == StepWithdraw {
			last = at
		}
		return true
	})
	if last.IsZero() {
		return "or they are revoked"
	}
	return "the last one until " + last.Format(time.RFC3339)
}

// consider tells what c would do. All keysets are locked.
func (m *Manager) consider(c Change) ([]Effect, error) {
	if err := m.check(c.Keysets); err != nil {
		return nil, refusal(RefusedBadRequest, time.Time{}, "%v", err)
	}
	for _, name := range c.Remove {
		if _, there := c.Keysets[name]; there {
			return nil, refusal(RefusedBadRequest, time.Time{}, "removing keyset %s: the configuration still has it; take it out first", name)
		}
		if m.named(name) == nil {
			return nil, refusal(RefusedUnknownKeyset, time.Time{}, "removing keyset %s: there is none of this name; `keysetctl status` lists them", name)
		}
	}
	now := clock()
	var effects []Effect
	for _, k := range m.list() {
		policy, stays := c.Keysets[k.name]
		switch {
		case stays:
			if why := k.doc.conflict(policy); why != "" {
				return nil, refusal(RefusedBadRequest, time.Time{}, "keyset %s: %s", k.name, why)
			}
			obs := m.observe(k, now)
			effects = append(effects, k.effects(policy, obs, now)...)
		case slices.Contains(c.Remove, k.name):
			if k.doc.Removed.IsZero() {
				effects = append(effects, Effect{Keyset: k.name, What: "is removed: it signs no longer; its keys stay published until no token that they signed can be valid, " + k.leaves(now) + ", and are destroyed then"})
			}
		case k.configured:
			return nil, refusal(RefusedBadRequest, time.Time{}, "keyset %s is no longer in the configuration; to have it go, say so with --remove %s, or put it back", k.name, k.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Keysets)) {
		if m.named(name) == nil {
			effects = append(effects, Effect{Keyset: name, What: "is new: its first keys are in use as soon as they are on the token"})
		}
	}
	return effects, nil
}
