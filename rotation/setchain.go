package rotation

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// SetChain puts down the certificate chain of a key, DER, leaf first, that came from outside; in the
// place of another one too. It is on the page when it returns nil, and a pending generation then waits for
// verifiers to fetch that. Whether the chain is the key's, and leads to whom it should, the caller has checked;
// its dates are checked here. Done again it changes nothing. The error is a *Refusal where
// the keyset's chains do not come from outside, where it has no such key, and where the chain
// is not valid now.
func (m *Manager) SetChain(ctx context.Context, name, kid string, chain [][]byte, act Act) error {
	k, err := m.governed(ctx, name, "setting a certificate of")
	if err != nil {
		return err
	}
	defer k.mu.Unlock()
	kid = m.ownKID(k.doc.Document, kid)
	now := clock()
	doc, events, err := m.setChain(k, kid, chain, act, now)
	if err != nil {
		return err
	}
	if len(events) > 0 {
		err = m.put(ctx, k, doc, events...)
	} else {
		err = m.done(k)
	}
	if err != nil {
		return fmt.Errorf("setting the certificate of key %s, keyset %s: %w", kid, name, err)
	}
	return nil
}

// setChain checks what SetChain is given, and returns what it makes of k.
func (m *Manager) setChain(k *keyset, kid string, chain [][]byte, act Act, now time.Time) (Document, []Event, error) {
	switch {
	case !k.policy.External:
		return Document{}, nil, refusal(RefusedBadRequest, time.Time{}, "the certificates of keyset %s do not come from outside; configure `certificate: {issuer: external}` first", k.name)
	case len(chain) == 0 || m.cfg.ChainDates == nil:
		return Document{}, nil, refusal(RefusedBadRequest, time.Time{}, "there is no certificate for key %q of keyset %s in what was given", kid, k.name)
	}
	if r, revoked := k.doc.revocation(kid); revoked {
		return Document{}, nil, refusal(RefusedUnknownKID, time.Time{}, "key %s of keyset %s was revoked at %s, so it gets no certificate", kid, k.name, r.At.Format(time.RFC3339))
	}
	dates, err := m.datesOf(chain)
	if err != nil {
		return Document{}, nil, refusal(RefusedBadRequest, time.Time{}, "the certificates for key %q of keyset %s cannot be read: %v", kid, k.name, err)
	}
	from, until := k.doc.span(Key{Certified: dates}, k.policy)
	switch t := m.reckon(k, now); {
	case t.Before(from):
		return Document{}, nil, refusal(RefusedBadRequest, from, "a certificate for key %q of keyset %s is valid from %s on only; hand it in at %s, when every verifier takes it as valid", kid, k.name, dates.NotBefore.Format(time.RFC3339), instant(from))
	case !t.Before(until):
		return Document{}, nil, refusal(RefusedBadRequest, time.Time{}, "a certificate for key %q of keyset %s ends at %s, and the page would be in use longer; have one issued that ends later", kid, k.name, dates.NotAfter.Format(time.RFC3339))
	}
	doc, events, found := k.doc.chained(kid, chain, dates, act, now)
	if !found {
		return Document{}, nil, refusal(RefusedUnknownKID, time.Time{}, "keyset %s has no key %q that keysetd made; `keysetctl csr list` shows those that may have a certificate", k.name, kid)
	}
	return doc, events, nil
}

// chained gives a key another chain. A pending generation then waits anew: verifiers are to know this one.
func (d Document) chained(kid string, chain [][]byte, dates Certified, act Act, now time.Time) (after Document, events []Event, found bool) {
	d = d.clone()
	for i := range d.Generations {
		g := &d.Generations[i]
		j := slices.IndexFunc(g.Keys, func(k Key) bool { return k.KID == kid })
		if j < 0 || g.Static {
			continue
		}
		found = true
		if sameChain(g.Keys[j].Chain, chain) {
			continue
		}
		what := eventChain
		if g.Keys[j].hasChain() {
			what = eventRenewed
		}
		g.Keys = slices.Clone(g.Keys)
		g.Keys[j].Chain, g.Keys[j].Certified = chain, dates
		e := act.event(what, g.Number, []string{kid}, now)
		e.Why = fmt.Sprintf("valid until %s", dates.NotAfter.Format(time.RFC3339))
		if act.Why != "" {
			e.Why += ": " + act.Why
		}
		events = append(events, e)
	}
	return d, events, found
}
