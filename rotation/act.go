package rotation

import (
	"context"
	"errors"
	"fmt"

	"keysetd.example/hsm"
)

// do carries out one step. Whatever happens in it, the store says by then what has begun,
// and the next plan goes on from there.
func (m *Manager) do(ctx context.Context, k *keyset, s Step) error {
	policy, _ := k.rules()
	switch s.Kind {
	case stepLoad.Kind:
		return m.load(ctx, k)
	case stepPublish.Kind:
		return m.publishDocument(k)
	case stepRestore.Kind:
		doc, events := k.doc.restore(clock())
		return m.save(ctx, k, doc, events...)
	case StepSettle:
		doc, events := k.doc.settle(policy, k.marks.all(), clock())
		return m.save(ctx, k, doc, events...)
	case StepEntries:
		doc, events := k.doc.entries(policy, clock())
		return m.save(ctx, k, doc, events...)
	case StepDismiss:
		doc, events := k.doc.dismiss(s.Generation, clock())
		return m.save(ctx, k, doc, events...)
	case StepActivate:
		return m.activate(ctx, k, s)
	case StepInventory:
		return m.compare(ctx, k, s.Token)
	case StepPurge:
		return m.purge(ctx, k, s.Token)
	case StepSweep:
		return m.sweep(ctx, k, s.Generation)
	case StepGenerate:
		if err := m.generate(ctx, k); err != nil {
			return fmt.Errorf("making the next generation: %w", err)
		}
		return nil
	case StepAdopt:
		if err := m.adopt(ctx, k); err != nil {
			return fmt.Errorf("taking over the static keys: %w", err)
		}
		return nil
	case StepRenew:
		return m.renew(ctx, k, s.Generation)
	case StepWithdraw:
		doc, events := k.doc.withdraw(s.Generation, clock())
		return m.save(ctx, k, doc, events...)
	case StepDestroy:
		return m.destroyGeneration(ctx, k, s.Generation)
	}
	panic("rotation: step of unknown kind " + string(s.Kind))
}

// save writes doc, and goes on from it only once it is written. After an error the store
// may hold either document, so the next thing is to load it.
func (m *Manager) save(ctx context.Context, k *keyset, doc Document, events ...Event) error {
	doc = m.dated(doc)
	version, err := m.cfg.Store.Save(ctx, doc, k.doc.Version, events...)
	if err != nil {
		k.stale = true
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	k.doc = Versioned{Document: doc, Version: version}
	k.dirty = true
	m.remember(doc)
	return nil
}

// remember notes which keys were revoked, for every keyset: none of them may come back in another one.
func (m *Manager) remember(doc Document) {
	for _, r := range doc.Revoked {
		m.revoked.LoadOrStore(string(r.Public), doc.Keyset)
	}
}

func (m *Manager) load(ctx context.Context, k *keyset) error {
	doc, err := m.cfg.Store.Get(ctx, k.name)
	if err != nil {
		return fmt.Errorf("reading the store again: %w", err)
	}
	if doc.Version == 0 {
		doc.Document = Document{Format: Format, Keyset: k.name}
	}
	doc.Document = m.dated(doc.Document)
	k.doc, k.stale, k.dirty = doc, false, true
	m.remember(doc.Document)
	return nil
}

func (m *Manager) publishDocument(k *keyset) error {
	m.alarm(k) // whether or not there is a page that can be swapped
	v := m.view(k, clock())
	if err := m.publish(v); err != nil {
		return err
	}
	k.shown, k.dirty = v, false
	m.disclaim(k)
	return nil
}

// activate lets the generation sign once each of its keys has shown that it can.
func (m *Manager) activate(ctx context.Context, k *keyset, s Step) error {
	if err := m.prove(ctx, k, s.Generation); err != nil {
		return err
	}
	// Meanwhile an operator may have had another one activated, or revoked this one.
	policy, _ := k.rules()
	now := clock()
	a, ok := k.doc.activation(policy)
	if !ok || a.Number != s.Generation || now.Before(a.at) || a.lapsed(now) {
		return nil
	}
	doc, events := k.doc.activate(a.Number, policy, event(eventActivated, a.Number, nil, now, a.why))
	return m.save(ctx, k, doc, events...)
}

// prove has each key of a generation show that it can do what it is for.
func (m *Manager) prove(ctx context.Context, k *keyset, number int) (err error) {
	g, _ := k.doc.Find(number)
	k.away(func() {
		ctx, cancel := context.WithTimeout(ctx, tokenLimit)
		defer cancel()
		for _, key := range g.Keys {
			if e := m.probe(ctx, key); e != nil {
				err = fmt.Errorf("activating generation %d: its key %s on token %s does not work: %w", number, key.KID, key.Token, e)
				return
			}
		}
	})
	return err
}

// sweep destroys what there is of an attempt that was left behind.
func (m *Manager) sweep(ctx context.Context, k *keyset, number int) error {
	intent, _ := k.doc.intent(Generate, number)
	if _, err := m.destroyObjects(ctx, k, intent.Objects); err != nil {
		return fmt.Errorf("removing an unfinished attempt from the token: %w", err)
	}
	doc, events := k.doc.abandoned(number, k.ended, clock())
	return m.save(ctx, k, doc, events...)
}

// destroyGeneration destroys the keys of a generation that left the page, or was revoked.
func (m *Manager) destroyGeneration(ctx context.Context, k *keyset, number int) error {
	intent, _ := k.doc.intent(Destroy, number)
	if intent.Revoked && m.cfg.Drain != nil {
		var err error
		k.away(func() { err = m.cfg.Drain(ctx) }) // requests that began before the key was revoked
		if err != nil {
			return fmt.Errorf("waiting for requests that still hold a revoked key: %w", err)
		}
	}
	gone, err := m.destroyObjects(ctx, k, intent.Objects)
	if err != nil {
		err = fmt.Errorf("destroying generation %d: %w", number, err)
	}
	if len(gone) == 0 {
		return err
	}
	doc, events := k.doc.destroyed(number, gone, clock())
	return errors.Join(err, m.save(ctx, k, doc, events...))
}

// destroyObjects destroys what an intent names, and returns what is gone. What is gone already is
// gone; what cannot be destroyed keeps nothing else from going.
func (m *Manager) destroyObjects(ctx context.Context, k *keyset, objects []Attempt) (gone []Attempt, err error) {
	var errs []error
	k.away(func() {
		ctx, cancel := context.WithTimeout(ctx, tokenLimit)
		defer cancel()
		for _, o := range objects {
			if _, err := m.destroy(ctx, o); err != nil {
				errs = append(errs, err)
				continue
			}
			gone = append(gone, o)
		}
	})
	k.effect = m.effects.Add(1)
	return gone, errors.Join(errs...)
}

// destroy destroys what there is of one key, and returns how many objects that were.
func (m *Manager) destroy(ctx context.Context, o Attempt) (int, error) {
	n, err := m.cfg.Tokens[o.Token].Destroy(ctx, hsm.Ref{ID: o.ID, Label: o.Label})
	if err != nil && !errors.Is(err, hsm.ErrKeyNotFound) {
		return 0, fmt.Errorf("key %x on token %s: %w", o.ID, o.Token, err)
	}
	return n, nil
}
