package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"keysetd.example/hsm"
)

// stock is the Manager's latest inventory of one token. All keysets share it, as a list of
// many keys takes a token seconds.
type stock struct {
	turn  chan struct{} // whoever put a word in it has the rest
	began time.Time     // the epoch that it is of
	asked uint64        // when it was asked for, in the Manager's count of effects
	inv   inventory
}

// inventory returns an inventory of a token in the epoch that is up, asked for after the
// effect with the number after, and when that epoch began. An error tells nothing of what is on the token.
func (m *Manager) inventory(ctx context.Context, name string, after uint64) (inventory, time.Time, error) {
	s, token := m.stocks[name], m.cfg.Tokens[name]
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return inventory{}, time.Time{}, ctx.Err()
	}
	began, up := token.Epoch()
	if !up {
		return inventory{}, time.Time{}, hsm.ErrUnavailable
	}
	if began.Equal(s.began) && s.asked > after {
		return s.inv, began, nil
	}
	asked := m.effects.Add(1)
	objects, err := token.Objects(ctx, "") // a key of ours is one of ours also where its label was changed
	if err != nil {
		return inventory{}, time.Time{}, err
	}
	if now, up := token.Epoch(); !up || !now.Equal(began) {
		return inventory{}, time.Time{}, fmt.Errorf("%w: its epoch ended meanwhile", hsm.ErrUnavailable)
	}
	s.began, s.asked, s.inv = began, asked, newInventory(m.cfg.Installation, objects)
	m.reportNameless(name, s.inv)
	return s.inv, began, nil
}

// maxReports bounds how many of them are told of.
const maxReports = 100

// reportNameless logs each object of this installation that belongs to no keyset there is.
func (m *Manager) reportNameless(token string, inv inventory) {
	nameless := slices.Clone(inv.nameless)
	for keyset, objects := range inv.labelled {
		if m.named(keyset) == nil {
			nameless = append(nameless, objects...)
		}
	}
	for _, o := range nameless {
		// Public objects anybody can lay there, without end.
		if m.reports.Load() >= maxReports {
			return
		}
		if _, told := m.reported.LoadOrStore(token+"\x00"+string(o.ID)+"\x00"+o.Label, true); !told && m.reports.Add(1) <= maxReports {
			m.cfg.Logger.Warn("an object on the token bears this installation's id and belongs to no keyset; it is left alone",
				"token", token, "label", o.Label, "id", fmt.Sprintf("%x", o.ID))
		}
	}
}

// recountAfter is how long after an inventory another one is taken while a key is lost: it
// may have been put back.
const recountAfter = time.Minute

// recount has the inventories taken anew that a lost key may be in again.
func (m *Manager) recount(k *keyset, now time.Time) {
	if !k.doc.lost() || now.Sub(k.listed).Abs() < recountAfter {
		return
	}
	k.listed = now
	for _, g := range k.doc.Generations {
		for _, key := range g.lost() {
			if token := m.cfg.Tokens[key.Token]; token != nil {
				token.Refresh()
				k.effect = m.effects.Add(1) // what was listed before this does not do
				delete(k.counted, key.Token)
			}
		}
	}
}

// lost reports whether any key of d is.
func (d Document) lost() bool {
	return slices.ContainsFunc(d.Generations, func(g Generation) bool { return len(g.lost()) > 0 })
}

// compare takes the inventory of a token and puts down which keys of k it has lost.
func (m *Manager) compare(ctx context.Context, k *keyset, name string) (err error) {
	var inv inventory
	var began time.Time
	after := k.effect
	k.away(func() {
		ctx, cancel := context.WithTimeout(ctx, tokenLimit)
		defer cancel()
		inv, began, err = m.inventory(ctx, name, after)
	})
	if err != nil {
		return fmt.Errorf("taking the inventory of token %s: %w", name, err)
	}
	now := clock()
	if doc, events := k.doc.compare(name, inv, now); len(events) > 0 {
		if err := m.save(ctx, k, doc, events...); err != nil {
			return err
		}
	}
	k.strays[name], k.ahead[name] = k.doc.strays(inv)
	k.counted[name], k.listed = began, now
	return nil
}

// purge destroys what abandoned attempts left on a token meanwhile.
func (m *Manager) purge(ctx context.Context, k *keyset, name string) error {
	began, up := m.cfg.Tokens[name].Epoch()
	if !up {
		return fmt.Errorf("looking for abandoned attempts on token %s: %w", name, hsm.ErrUnavailable)
	}
	found := map[string]int{}
	var errs []error
	attempts := k.doc.abandonedOn(name)
	k.away(func() {
		ctx, cancel := context.WithTimeout(ctx, tokenLimit)
		defer cancel()
		for _, a := range attempts {
			n, err := m.destroy(ctx, a.Attempt)
			if err != nil {
				errs = append(errs, fmt.Errorf("looking for abandoned attempts: %w", err))
				continue // another one may go
			}
			if found[string(a.ID)] = n; n > 0 {
				m.cfg.Logger.Warn("a key that an abandoned attempt made late was destroyed", "keyset", k.name, "generation", a.Generation, "token", name, "id", fmt.Sprintf("%x", a.ID))
			}
		}
	})
	k.effect = m.effects.Add(1)
	if len(found) == 0 {
		return errors.Join(errs...)
	}
	doc, events := k.doc.purged(found, began, clock())
	return errors.Join(append(errs, m.save(ctx, k, doc, events...))...)
}
