package rotation

import "time"

// What becomes of the certificates of a world: some are issued by keysetd, others handed in from outside, in time,
// late or never, and they end when they like.

// watch is what the Manager sees of them.
func (w *world) watch() (c chainWatch, now time.Time) {
	k := newKeyset("default")
	k.doc.Document, k.policy, k.configured = w.doc, w.policy, w.configured
	k.marks.until = w.marks
	now = latest(w.real.Add(w.accepts), w.doc.newest())
	return k.watchChains(now), now
}

// hides checks the page: no chain on it is one that somebody who uses it may find not valid. It returns what is not on it.
func (w *world) hides() []string {
	if w.family != certified {
		return nil
	}
	c, now := w.watch()
	fresh := w.doc.Served
	if fresh == (Freshness{}) {
		fresh = w.rules().freshness()
	}
	for _, g := range w.doc.hide(c.hidden).Generations {
		for _, k := range g.Keys {
			d := k.Certified
			if len(k.Chain) > 0 && (now.Add(-fresh.ClockSkew).Before(d.NotBefore) || !now.Add(fresh.Reach()).Before(d.NotAfter)) {
				w.t.Fatalf("%v: the chain of %s is shown, which is valid from %v until %v", now, k.KID, d.NotBefore, d.NotAfter)
			}
		}
	}
	return c.hidden
}

// passes lets time go by until then; chains come and leave in time.
func (w *world) passes(until time.Time) {
	for w.family == certified {
		c, now := w.watch()
		if c.next.IsZero() || w.real.Add(c.next.Sub(now)).After(until) {
			break
		}
		if w.real = w.real.Add(c.next.Sub(now)); !c.next.After(now) {
			w.t.Fatalf("%v: chains change at %v", now, c.next)
		}
		w.show()
	}
	w.real = until
}

// issue draws what an issuer gives to a key.
func (w *world) issue(k Key, policy Policy) Key {
	if w.family != certified || policy.External {
		return k
	}
	if k.Chain, k.Certified = nil, (Certified{}); w.calm || !w.one(8) {
		life := w.seconds(40000, 400000)
		if w.calm {
			life = 1000 * time.Hour
		}
		k.Chain, k.Certified = [][]byte{[]byte(k.KID)}, Certified{NotBefore: w.now().Add(-policy.ClockSkew), NotAfter: w.now().Add(life), Final: w.one(4)}
	}
	return k
}

// renew is the effects of StepRenew.
func (w *world) renew(n int) []func() {
	g, _ := w.doc.Find(n)
	keys := w.doc.renewable(g, w.rules(), func(t time.Time) bool { return !w.now().Before(t) })
	return []func(){func() {
		for i := range keys {
			keys[i] = w.issue(keys[i], w.policy)
		}
	}, func() {
		doc, _ := w.doc.renewed(n, keys, w.policy, w.now())
		w.save(doc)
	}, w.show}
}

// certificates has somebody hand in certificates, or not.
func (w *world) certificates(all bool) {
	if !w.governed() || !w.policy.External {
		return
	}
	for _, g := range w.doc.Generations {
		for _, k := range g.Keys {
			if !all && (!w.one(3) || k.hasChain() && !w.one(4)) || g.Static || all && k.Certified.NotAfter.After(w.real.Add(100*time.Hour)) {
				continue
			}
			now := latest(w.real.Add(w.accepts), w.doc.newest())
			dates := Certified{NotBefore: now.Add(-w.seconds(0, 7200)), NotAfter: now.Add(w.seconds(0, 60000))}
			if all {
				dates = Certified{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour)}
			}
			from, until := w.doc.span(Key{Certified: dates}, w.policy)
			if now.Before(from) || !now.Before(until) {
				continue
			}
			w.ids++
			w.t.Logf("%v: chain for %s until %v", w.now(), k.KID, dates.NotAfter)
			doc, events, found := w.doc.chained(k.KID, [][]byte{{byte(w.ids), byte(w.ids >> 8)}}, dates, Act{By: "uid 1"}, w.now())
			if !found || len(events) != 1 {
				w.t.Fatalf("chained: %v, %v", events, found)
			}
			w.save(doc)
			if w.one(4) {
				w.restart() // before it is shown
			}
			w.show()
		}
	}
}
