package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// managed returns a keyset that acts can be done to, locked.
func (m *Manager) managed(ctx context.Context, name, what string) (*keyset, error) {
	k := m.named(name)
	if k == nil {
		return nil, refusal(RefusedUnknownKeyset, time.Time{}, "there is no keyset %q; `keysetctl status` lists those there are", name)
	}
	k.mu.Lock()
	if k.doc.gone() && !k.configured {
		k.mu.Unlock()
		return nil, refusal(RefusedUnknownKeyset, time.Time{}, "keyset %s was removed at %s", name, k.doc.Removed.Format(time.RFC3339))
	}
	if k.stale {
		if err := m.load(ctx, k); err != nil {
			k.mu.Unlock()
			return nil, fmt.Errorf("%s keyset %s: %w", what, name, err)
		}
	}
	return k, nil
}

// governed is managed, for what needs a policy that is in force.
func (m *Manager) governed(ctx context.Context, name, what string) (*keyset, error) {
	k, err := m.managed(ctx, name, what)
	if err != nil {
		return nil, err
	}
	if _, follows := k.rules(); !follows || !k.configured {
		k.mu.Unlock()
		return nil, refusal(RefusedBadRequest, time.Time{}, "keyset %s is not in the configuration; configure it again first", name)
	}
	return k, nil
}

// ErrNotShown means that an act is on disk, but that readers do not see it yet.
var ErrNotShown = errors.New("it is put down and will be shown as soon as that works")

// put writes what an act made of k, and shows it. If the store fails it may be on disk
// nevertheless, so what is there is looked up at once.
func (m *Manager) put(ctx context.Context, k *keyset, doc Document, events ...Event) error {
	if err := m.save(ctx, k, doc, events...); err != nil {
		k.woken = true
		m.poke()
		return err
	}
	for _, e := range events {
		m.cfg.Logger.Warn("an operator changed a keyset", "keyset", k.name, "what", e.What, "generation", e.Generation, "kids", e.KIDs, "by", e.By, "why", e.Why)
	}
	return m.done(k)
}

// done ends an act on k: readers see what is on disk, and what follows from it is looked at. Its
// error means that they do not yet, which is tried again.
func (m *Manager) done(k *keyset) error {
	if !k.dirty {
		return nil
	}
	defer m.poke()
	k.woken = true
	if err := m.publishDocument(k); err != nil {
		k.dirty = true
		return fmt.Errorf("%w: %w", ErrNotShown, err)
	}
	return nil
}

// Rotate makes the pending generation active, if it may sign. With act.KID it is done, without
// error, once that key signs no longer.
func (m *Manager) Rotate(ctx context.Context, name string, act Act) error {
	k, err := m.governed(ctx, name, "rotating")
	if err != nil {
		return err
	}
	defer k.mu.Unlock()
	act.KID = m.ownKID(k.doc.Document, act.KID)
	for {
		number, done, err := m.rotatable(k, act)
		switch {
		case err != nil:
			return err
		case done:
			return m.done(k)
		}
		works := m.prove(ctx, k, number)
		// It was let go of meanwhile.
		if again, done, err := m.rotatable(k, act); err != nil || done || again != number {
			continue
		}
		if works != nil {
			return fmt.Errorf("rotating keyset %s: %w", name, works)
		}
		doc, events := k.doc.rotate(number, act, k.policy, clock())
		if err := m.put(ctx, k, doc, events...); err != nil {
			return fmt.Errorf("rotating keyset %s: %w", name, err)
		}
		return nil
	}
}

func (m *Manager) rotatable(k *keyset, act Act) (number int, done bool, err error) {
	now := clock()
	number, done, err = k.doc.rotatable(act, k.policy, now)
	if why := m.clockTrouble(k, now); why != "" && err == nil && !done {
		return 0, false, refusal(RefusedNotYet, time.Time{}, "keyset %s is not rotated: %s, so nobody knows whether the next generation may sign; set the clock, or accept it with `keysetctl clock accept`", k.name, why)
	}
	return number, done, err
}

// Revoke takes keys out of service for good. When it returns nil it is on disk, the page does not
// have them and no new request signs with them; the token is asked afterwards, and
// whatever fails there they stay dead (invariant 6).
func (m *Manager) Revoke(ctx context.Context, name string, act RevokeAct) (Revoked, error) {
	result, err := m.revoke(ctx, name, act)
	if refused, ok := errors.AsType[*Refusal](err); ok {
		return result, refused
	}
	m.keepRevocations()
	return result, err
}

func (m *Manager) revoke(ctx context.Context, name string, act RevokeAct) (Revoked, error) {
	k, err := m.managed(ctx, name, "revoking a key of")
	if err != nil {
		return Revoked{}, err
	}
	defer k.mu.Unlock()
	act.KID = m.ownKID(k.doc.Document, act.KID)
	policy, _ := k.rules()
	now := clock()
	doc, events, err := k.doc.revoke(act, policy, m.clockTrouble(k, now) == "", now)
	if err != nil {
		return Revoked{}, err
	}
	if len(events) > 0 || doc.AcceptUnpublished != k.doc.AcceptUnpublished {
		err = m.put(ctx, k, doc, events...)
	} else {
		err = m.done(k) // also if it was another call that could not show it
	}
	if err != nil {
		return Revoked{}, fmt.Errorf("revoking a key of keyset %s: %w", name, err)
	}
	return k.doc.outcome(act, now), nil
}

// ownKID returns the kid of the key of which kid is one.
func (m *Manager) ownKID(d Document, kid string) string {
	for _, g := range d.Generations {
		for _, key := range g.Keys {
			if slices.Contains(m.cfg.Aliases(key.KID, key.Spec), kid) {
				return key.KID
			}
		}
	}
	for _, r := range d.Revoked {
		if slices.Contains(m.cfg.Aliases(r.KID, r.Spec), kid) {
			return r.KID
		}
	}
	return kid
}

// maxToldRevoked bounds how many keys are told of that one revocation of all of them concerned.
const maxToldRevoked = 50

// outcome tells what an operator has to know of a revocation.
func (d Document) outcome(act RevokeAct, now time.Time) Revoked {
	var r Revoked
	of := d.Revoked
	if act.All { // those of a moment ago, not of years
		of = of[max(0, len(of)-maxToldRevoked):]
	}
	for _, one := range of {
		if act.All || one.KID == act.KID {
			r.Keys = append(r.Keys, one)
			r.AcceptedUntil = latest(r.AcceptedUntil, one.AcceptedUntil)
		}
	}
	active, signing := d.Active()
	switch {
	case d.AcceptUnpublished: // the next one signs as soon as it is there
		r.RefusedUntil = latest(d.StaleUntil, now.Add(d.Served.Reach()))
	case !signing:
	case active.UsableFrom.IsZero(): // it was not even put down that it is shown
		r.RefusedUntil = latest(d.StaleUntil, now.Add(d.Served.Reach()))
	case active.UsableFrom.After(now):
		r.RefusedUntil = active.UsableFrom
	}
	return r
}

// Freeze has nothing activated on schedule, and nothing taken off the page, until then.
func (m *Manager) Freeze(ctx context.Context, name string, act Act, until time.Time) error {
	return m.alter(ctx, name, "freezing", func(d Document, policy Policy, now time.Time) (Document, []Event, error) {
		return d.freeze(act, until.Round(0).UTC(), policy, now)
	})
}

// Thaw ends a freeze.
func (m *Manager) Thaw(ctx context.Context, name string, act Act) error {
	return m.alter(ctx, name, "thawing", func(d Document, _ Policy, now time.Time) (Document, []Event, error) {
		d, events := d.thaw(act, now)
		return d, events, nil
	})
}

func (m *Manager) alter(ctx context.Context, name, what string, change func(Document, Policy, time.Time) (Document, []Event, error)) error {
	k, err := m.governed(ctx, name, what)
	if err != nil {
		return err
	}
	defer k.mu.Unlock()
	doc, events, err := change(k.doc.Document, k.policy, clock())
	if err != nil {
		return err
	}
	if len(events) > 0 {
		err = m.put(ctx, k, doc, events...)
	} else {
		err = m.done(k)
	}
	if err != nil {
		return fmt.Errorf("%s keyset %s: %w", what, name, err)
	}
	return nil
}

// Plan tells what will happen to a keyset if nothing else does.
func (m *Manager) Plan(name string) ([]Forecast, error) {
	k := m.Snapshot().Keysets[name]
	if k == nil {
		return nil, refusal(RefusedUnknownKeyset, time.Time{}, "there is no keyset %q; `keysetctl status` lists those there are", name)
	}
	policy := k.Policy
	if !k.Configured && k.Document.Removed.IsZero() {
		return nil, nil // nothing is done to it
	}
	doc := k.Document.clone()
	// An attempt that is under way will most likely succeed.
	doc.Intents = slices.DeleteFunc(doc.Intents, func(i Intent) bool { return i.Kind == Generate })
	var marks map[int]time.Time
	if k := m.named(name); k != nil {
		marks = k.marks.all()
	}
	return forecast(doc, policy, Observation{Watermarks: marks}, clock()), nil
}

// History returns the newest limit events of a keyset, oldest first.
func (m *Manager) History(ctx context.Context, name string, limit int) ([]Event, error) {
	if m.named(name) == nil {
		return nil, refusal(RefusedUnknownKeyset, time.Time{}, "there is no keyset %q; `keysetctl status` lists those there are", name)
	}
	events, err := m.cfg.Store.History(ctx, name, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the history of keyset %s: %w", name, err)
	}
	return events, nil
}

// AcceptClock takes the wall clock as right, whatever was noticed of it (invariant 11).
func (m *Manager) AcceptClock(ctx context.Context, act Act) error {
	step := m.watch.stepped(0)
	m.watch.accept()
	var errs []error
	for _, k := range m.list() {
		errs = append(errs, func() error {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.stale {
				if err := m.load(ctx, k); err != nil {
					return fmt.Errorf("accepting the clock for keyset %s: %w", k.name, err)
				}
			}
			doc, events := k.doc.acceptClock(act, step, clock())
			if len(events) == 0 {
				return nil
			}
			if err := m.put(ctx, k, doc, events...); err != nil {
				return fmt.Errorf("accepting the clock for keyset %s: %w", k.name, err)
			}
			return nil
		}())
	}
	m.cfg.Logger.Warn("the clock was accepted as it is", "by", act.By, "why", act.Why)
	m.Wake()
	return errors.Join(errs...)
}

// keepRevocations keeps the revocations of all keysets outside the store too. If that fails it is tried
// again: they are in force whatever happens here.
func (m *Manager) keepRevocations() {
	if m.cfg.KeepRevocations == nil {
		return
	}
	m.keeping.Lock()
	defer m.keeping.Unlock()
	all := map[string][]Revocation{}
	for _, k := range m.list() {
		k.mu.Lock()
		if len(k.doc.Revoked) > 0 {
			all[k.name] = k.doc.Revoked
		}
		k.mu.Unlock()
	}
	err := m.cfg.KeepRevocations(all)
	if err != nil {
		m.cfg.Logger.Error("the revocations cannot be written beside the store; should that be lost they would be too; it is tried again", "error", err)
	}
	m.unkept.Store(nil)
	if err != nil {
		again := clock().Add(lastRetry)
		m.unkept.Store(&again)
	}
}
