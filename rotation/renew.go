package rotation

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"keysetd.example/hsm"
)

// renewEvery is how often an issuer is asked at most: one that ends itself has nothing better to give.
const renewEvery = 24 * time.Hour

// renewAt is from when on the issuer is to be asked for another chain for k; zero where it is not. That
// is in the last tenth of the chain's life: only a key that stays longer than anybody could foresee comes there.
func (d Document) renewAt(g Generation, k Key, policy Policy) time.Time {
	c := k.Certified
	if policy.External || policy.static() || g.Static || policy.Encrypts() || !k.Lost.IsZero() || !d.Removed.IsZero() {
		return time.Time{}
	}
	var at time.Time
	switch {
	case !c.NotAfter.IsZero():
		at = c.NotAfter.Add(-max(c.NotAfter.Sub(c.NotBefore)/10, 2*d.reach(policy).Reach()))
	case policy.RequireChain && len(k.Chain) == 0:
		at = g.Made // the configuration did not want one then
	default:
		return time.Time{}
	}
	if !c.Renewed.IsZero() {
		at = latest(at, c.Renewed.Add(renewEvery))
	}
	return at
}

// renewable returns the keys of g for which that is due.
func (d Document) renewable(g Generation, policy Policy, due func(time.Time) bool) (keys []Key) {
	for _, k := range g.Keys {
		if at := d.renewAt(g, k, policy); !at.IsZero() && due(at) {
			keys = append(keys, k)
		}
	}
	return keys
}

// renew has the keys of a generation certified anew. There is no intent: an attempt that is cut off
// leaves nothing on the token, and is due again until its result is put down.
func (m *Manager) renew(ctx context.Context, k *keyset, number int) (err error) {
	policy, now := k.policy, clock()
	g, _ := k.doc.Find(number)
	keys := k.doc.renewable(g, policy, func(t time.Time) bool { return !now.Before(t) })
	k.away(func() {
		ctx, cancel := context.WithTimeout(ctx, tokenLimit)
		defer cancel()
		for i := range keys {
			key := &keys[i]
			if key.Chain, key.Certified, err = m.certify(ctx, k.name, number, policy, *key, now); err != nil {
				err = fmt.Errorf("renewing the certificate of key %s, generation %d: %w", key.KID, number, err)
				return
			}
		}
	})
	if err != nil {
		return err
	}
	// Meanwhile the configuration may have become another one, or a key may have been revoked.
	now = clock()
	if k.policy.External || !k.configured || k.doc.index(number) < 0 {
		return nil
	}
	doc, events := k.doc.renewed(number, keys, k.policy, now)
	return m.save(ctx, k, doc, events...)
}

// renewed puts down what the issuer gave to keys of a generation. A chain that ends no later than the one
// before is not worth a change of the page, unless that one is not on it.
func (d Document) renewed(number int, certified []Key, policy Policy, now time.Time) (Document, []Event) {
	d = d.clone()
	g := &d.Generations[d.index(number)]
	g.Keys = slices.Clone(g.Keys)
	var kids []string
	for i := range g.Keys {
		k := &g.Keys[i]
		j := slices.IndexFunc(certified, func(c Key) bool { return string(c.ID) == string(k.ID) })
		if j < 0 {
			continue
		}
		shown, was := d.shows(*k, policy, now), k.Certified
		if again := certified[j]; len(again.Chain) > 0 && (!shown || again.Certified.NotAfter.After(was.NotAfter)) {
			k.Chain, k.Certified = again.Chain, again.Certified
			if shown { // who had the old one can go on with it
				k.Certified.Shown, k.Certified.UsableFrom = was.Shown, was.UsableFrom
			}
			kids = append(kids, k.KID)
		} else if len(again.Chain) > 0 {
			k.Certified.Final = again.Certified.Final
		}
		k.Certified.Renewed = now
	}
	if len(kids) == 0 {
		return d, nil
	}
	return d, []Event{event(eventRenewed, number, kids, now, "the one before was about to end")}
}

// certify has the issuer certify a key for as long as it may be needed from now on.
func (m *Manager) certify(ctx context.Context, keyset string, number int, policy Policy, key Key, now time.Time) (chain [][]byte, c Certified, err error) {
	if m.cfg.Certify == nil || policy.External {
		return nil, Certified{}, nil
	}
	pub, err := x509.ParsePKIXPublicKey(key.Public)
	if err != nil {
		return nil, Certified{}, fmt.Errorf("reading its public key: %w", err)
	}
	req := CertRequest{
		Keyset: keyset, Generation: number, Spec: key.Spec, KID: key.KID, Public: pub,
		NotBefore: now.Add(-policy.ClockSkew), NotAfter: now.Add(policy.CertificateLifetime()),
	}
	if !policy.Encrypts() { // a key that decrypts signs nothing
		if req.Signer, err = m.cfg.Tokens[key.Token].Signer(ctx, hsm.Ref{ID: key.ID, Label: key.Label}, pub); err != nil {
			return nil, Certified{}, fmt.Errorf("signing its certificate: %w", err)
		}
	}
	if chain, err = m.cfg.Certify(ctx, req); err != nil {
		return nil, Certified{}, fmt.Errorf("making its certificate: %w", err)
	}
	if len(chain) == 0 || m.cfg.ChainDates == nil {
		return chain, Certified{}, nil
	}
	if c, err = m.datesOf(chain); err != nil {
		return nil, Certified{}, fmt.Errorf("reading its certificate: %w", err)
	}
	c.Final = c.NotAfter.Before(req.NotAfter.Add(-time.Second)) // certificates have no fractions of one
	return chain, c, nil
}

func (m *Manager) datesOf(chain [][]byte) (c Certified, err error) {
	c.NotBefore, c.NotAfter, err = m.cfg.ChainDates(chain)
	c.NotBefore, c.NotAfter = c.NotBefore.Round(0).UTC(), c.NotAfter.Round(0).UTC()
	return c, err
}

// imagineRenewal returns what d is when keys of a generation were certified anew.
func (d Document) imagineRenewal(number int, policy Policy, now time.Time) Document {
	g, _ := d.Find(number)
	keys := d.renewable(g, policy, func(t time.Time) bool { return !now.Before(t) })
	for i := range keys {
		c := &keys[i].Certified
		if keys[i].Chain = [][]byte{nil}; !c.Final {
			*c = Certified{NotBefore: now.Add(-policy.ClockSkew), NotAfter: now.Add(policy.CertificateLifetime())}
		}
	}
	d, _ = d.renewed(number, keys, policy, now)
	return d
}
