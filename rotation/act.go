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
	switch s.Kind {
	case stepLoad.Kind:
		return m.load(ctx, k)
	case stepPublish.Kind:
		return m.publishDocument(k)
	case StepSettle:
		doc, events := k.doc.settle(k.policy, clock())
		return m.save(ctx, k, doc, events...)
	case StepActivate:
		return m.activate(ctx, k, s.Generation)
	case StepInventory:
		return m.compare(ctx, k, s.Token)
	case StepPurge:
		return m.purge(ctx, k, s.Token)
	case StepSweep:
		if err := m.destroyObjects(ctx, k, Generate, s.Generation); err != nil {
			return fmt.Errorf("removing an unfinished attempt from the token: %w", err)
		}
		doc, events := k.doc.abandoned(s.Generation, k.ended, clock())
		return m.save(ctx, k, doc, events...)
	case StepGenerate:
		if err := m.generate(ctx, k); err != nil {
			return fmt.Errorf("making the next generation: %w", err)
		}
		return nil
	case StepWithdraw:
		doc, events := k.doc.withdraw(s.Generation, clock())
		return m.save(ctx, k, doc, events...)
	case StepDestroy:
		if err := m.destroyObjects(ctx, k, Destroy, s.Generation); err != nil {
			return fmt.Errorf("destroying generation %d: %w", s.Generation, err)
		}
		doc, events := k.doc.destroyed(s.Generation, clock())
		return m.save(ctx, k, doc, events...)
	}
	panic("rotation: step of unknown kind " + string(s.Kind))
}

// save writes doc, and goes on from it only once it is written. After an error the store
// may hold either document, so the next thing is to load it.
func (m *Manager) save(ctx context.Context, k *keyset, doc Document, events ...Event) error {
	version, err := m.cfg.Store.Save(ctx, doc, k.doc.Version, events...)
	if err != nil {
		k.stale = true
		return fmt.Errorf("writing to the store: %w", err)
	}
	k.doc = Versioned{Document: doc, Version: version}
	k.dirty = true
	return nil
}

func (m *Manager) load(ctx context.Context, k *keyset) error {
	doc, err := m.cfg.Store.Get(ctx, k.name)
	if err != nil {
		return fmt.Errorf("reading the store again: %w", err)
	}
	if doc.Version == 0 {
		doc.Document = Document{Format: Format, Keyset: k.name}
	}
	k.doc, k.stale, k.dirty = doc, false, true
	return nil
}

func (m *Manager) publishDocument(k *keyset) error {
	m.alarm(k) // whether or not there is a page that can be swapped
	v := m.view(k, clock())
	if err := m.publish(v); err != nil {
		return err
	}
	k.shown, k.dirty = v, false
	return nil
}

// activate lets the generation sign once each of its keys has shown that it can.
func (m *Manager) activate(ctx context.Context, k *keyset, number int) error {
	limited, cancel := context.WithTimeout(ctx, tokenLimit)
	defer cancel()
	g, _ := k.doc.Find(number)
	for _, key := range g.Keys {
		if err := m.probe(limited, key); err != nil {
			return fmt.Errorf("activating generation %d: its key %s on token %s does not sign: %w", number, key.KID, key.Token, err)
		}
	}
	doc, events := k.doc.activate(number, clock())
	return m.save(ctx, k, doc, events...)
}

// destroyObjects destroys what an intent names. What is gone already is gone.
func (m *Manager) destroyObjects(ctx context.Context, k *keyset, kind IntentKind, number int) error {
	ctx, cancel := context.WithTimeout(ctx, tokenLimit)
	defer cancel()
	intent, _ := k.doc.intent(kind, number)
	for _, o := range intent.Objects {
		if _, err := m.destroy(ctx, k, o); err != nil {
			return err
		}
	}
	return nil
}

// destroy destroys what there is of one key, and returns how many objects that were.
func (m *Manager) destroy(ctx context.Context, k *keyset, o Attempt) (int, error) {
	defer func() { k.effect = m.effects.Add(1) }()
	n, err := m.cfg.Tokens[o.Token].Destroy(ctx, hsm.Ref{ID: o.ID, Label: o.Label})
	if err != nil && !errors.Is(err, hsm.ErrKeyNotFound) {
		return 0, fmt.Errorf("key %x on token %s: %w", o.ID, o.Token, err)
	}
	return n, nil
}
