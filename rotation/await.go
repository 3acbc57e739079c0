package rotation

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// StepAwait is nothing that keysetd does, so Plan never wants it: by then somebody is to hand in the
// certificates of a generation, or it signs later than it should. Forecasts have it.
const StepAwait StepKind = "await certificates for"

// awaited returns the generation that waits for certificates from outside, its keys that have none which
// will do, and the instant by which the page is to have them. hand: it is not the calendar that wants it.
func (d Document) awaited(policy Policy) (g Generation, keys []Key, by time.Time, hand bool) {
	if !policy.External || !policy.awaitsChain() {
		return Generation{}, nil, time.Time{}, false
	}
	relaxed := policy
	relaxed.External, relaxed.RequireChain = false, false
	a, ok := d.activation(relaxed)
	if !ok && policy.byHand() && d.Removed.IsZero() {
		if i := slices.IndexFunc(d.Generations, func(g Generation) bool {
			return g.State == Pending && !g.Published.IsZero() && !g.impaired() && g.fits(policy)
		}); i >= 0 {
			a.Generation, a.at, ok, hand = d.Generations[i], d.mayRotate(d.Generations[i], relaxed), true, true
		}
	}
	if as, well := d.activation(policy); !ok || well && as.Number == a.Number {
		return Generation{}, nil, time.Time{}, false
	}
	for _, k := range a.Keys {
		if _, until := d.span(k, policy); !k.hasChain() || !until.IsZero() && !a.at.Before(until) {
			keys = append(keys, k)
		}
	}
	return a.Generation, keys, a.at.Add(-d.reach(policy).Reach()), hand
}

// awaits returns that as a step of a forecast; the zero one if nothing is awaited.
func (d Document) awaits(policy Policy, now time.Time) (Step, time.Time) {
	g, keys, by, _ := d.awaited(policy)
	if len(keys) == 0 {
		return Step{}, time.Time{}
	}
	return Step{Kind: StepAwait, Generation: g.Number, Reason: "it waits for the certificate of kid " + strings.Join(Generation{Keys: keys}.kids(), ", ")}, latest(now, by)
}

// supposed returns d with every key of a generation certified for good.
func (d Document) supposed(number int) Document {
	d = d.clone()
	g := &d.Generations[d.index(number)]
	g.Keys = slices.Clone(g.Keys)
	for i := range g.Keys {
		g.Keys[i].Chain, g.Keys[i].Certified = [][]byte{nil}, Certified{}
	}
	return d
}

// chainWatch is what people should know of the chains of a keyset.
type chainWatch struct {
	hidden   []string // kids whose chain is not valid now
	missing  []string // kids for which somebody should get one
	problems []string
	warnings []string
	next     time.Time // when this would be another one
}

// watchChains tells what is to be known of them at t.
func (k *keyset) watchChains(t time.Time) (w chainWatch) {
	policy, follows := k.rules()
	if !follows {
		policy = Policy{}
	}
	d := k.doc.Document
	due := func(at time.Time) bool {
		if t.Before(at) && (w.next.IsZero() || at.Before(w.next)) {
			w.next = at
		}
		return !t.Before(at)
	}
	for _, g := range d.Generations {
		for _, key := range g.Keys {
			w.watch(d, g, key, policy, t, due)
			if end := w.endsSoon(k, g, key, policy, due); !end.IsZero() && d.shows(key, policy, t) {
				w.missing = append(w.missing, key.KID)
				w.warnings = append(w.warnings, fmt.Sprintf("the certificate of key %s (%s, generation %d) ends at %s and leaves the page at %s: %s",
					key.KID, g.State, g.Number, key.Certified.NotAfter.Format(time.RFC3339), end.Format(time.RFC3339), remedy(g, policy)))
			}
		}
	}
	g, keys, by, hand := d.awaited(policy)
	if len(keys) == 0 || !due(by.Add(-policy.Lead/2)) {
		return w
	}
	_, signing := d.Active()
	for _, key := range keys {
		if slices.Contains(w.missing, key.KID) {
			continue // it had one
		}
		w.missing = append(w.missing, key.KID)
		line := fmt.Sprintf("generation %d waits for the certificate of kid %s (%s): `keysetctl csr show %s %s` prints the request, `keysetctl certificate import` takes the answer",
			g.Number, key.KID, key.Spec, k.name, key.KID)
		switch late := due(by); {
		case signing && !hand && late:
			w.problems = append(w.problems, fmt.Sprintf("%s; it was to be there by %s, so the active generation signs longer than it should", line, by.Format(time.RFC3339)))
		case signing && !hand:
			w.warnings = append(w.warnings, fmt.Sprintf("%s; it is to be there by %s, or the active generation signs longer than it should", line, by.Format(time.RFC3339)))
		case signing:
			w.warnings = append(w.warnings, line+"; until then nobody can rotate")
		default:
			w.warnings = append(w.warnings, line+"; until then nothing signs")
		}
	}
	return w
}

// watch tells of the chain that a key has now.
func (w *chainWatch) watch(d Document, g Generation, key Key, policy Policy, t time.Time, due func(time.Time) bool) {
	from, until := d.span(key, policy)
	begun, over := due(from), !until.IsZero() && due(until)
	name := fmt.Sprintf("key %s (%s, generation %d)", key.KID, g.State, g.Number)
	silent := ""
	if policy.RequireChain && g.State == Active {
		silent = ", and as x5c is required it does not sign"
	}
	switch {
	case key.hasChain() && over:
		w.hidden = append(w.hidden, key.KID)
		w.problems = append(w.problems, fmt.Sprintf("the certificate of %s ends at %s and has left the page%s: %s", name, key.Certified.NotAfter.Format(time.RFC3339), silent, remedy(g, policy)))
	case key.hasChain() && !begun:
		w.hidden = append(w.hidden, key.KID)
		w.problems = append(w.problems, fmt.Sprintf("the certificate of %s is valid from %s on and is not on the page yet%s: the clock here and that of its issuer do not agree", name, key.Certified.NotBefore.Format(time.RFC3339), silent))
	case !key.hasChain() && silent != "":
		w.problems = append(w.problems, fmt.Sprintf("%s has no certificate%s: %s", name, silent, remedy(g, policy)))
	case !key.hasChain() && g.State == Active && policy.External:
		w.warnings = append(w.warnings, fmt.Sprintf("%s has no certificate: %s", name, remedy(g, policy)))
	default:
		return
	}
	w.missing = append(w.missing, key.KID)
}

// endsSoon returns when the chain of a key leaves the page, if that is soon, the key stays longer, and keysetd can do
// nothing about it; else zero.
func (w *chainWatch) endsSoon(k *keyset, g Generation, key Key, policy Policy, due func(time.Time) bool) time.Time {
	_, until := k.doc.span(key, policy)
	if until.IsZero() || !key.fixed(g, policy) {
		return time.Time{}
	}
	if g.State == Retired && !g.kept(policy) && !g.RetainUntil.IsZero() {
		if leaves := latest(g.RetainUntil, k.doc.FrozenUntil, k.marks.of(g.Number).Add(policy.ClockSkew)); !leaves.After(until) {
			return time.Time{}
		}
	}
	c := key.Certified
	if !due(until.Add(-max(c.NotAfter.Sub(c.NotBefore)/10, policy.Lead/2))) {
		return time.Time{}
	}
	return until
}

// remedy says what is to be done for a key of g that needs another chain.
func remedy(g Generation, policy Policy) string {
	switch {
	case g.Static:
		return "name another chain for it in the configuration and reload"
	case policy.External:
		return "have another one issued (`keysetctl csr show`) and hand it in with `keysetctl certificate import`"
	}
	return "its issuer is asked for another one each day; see to it that the issuer's own certificate lasts"
}

// chainsChange is when something of that changes next by the clock of now; zero: never.
func (m *Manager) chainsChange(k *keyset, now time.Time) time.Time {
	t := m.reckon(k, now)
	next := k.watchChains(t).next
	if next.IsZero() {
		return next
	}
	return next.Add(max(0, now.Sub(t)))
}

// showChains takes chains off the page, or puts them on it, while a worker is at k and waits for a token. It returns
// how long nothing of that changes.
func (m *Manager) showChains(k *keyset, now time.Time) time.Duration {
	if !slices.Equal(k.watchChains(m.reckon(k, now)).hidden, k.shown.hidden) {
		if err := m.publishDocument(k); err != nil {
			k.dirty = true
			return firstRetry
		}
	}
	if at := m.chainsChange(k, now); !at.IsZero() {
		return max(0, at.Sub(now))
	}
	return maxSleep
}

// says reports whether v says of the same document what k says.
func (k *Keyset) says(v *Keyset) bool {
	return k.Problem == v.Problem && k.Next.Equal(v.Next) && slices.Equal(k.Warnings, v.Warnings) && slices.Equal(k.Missing, v.Missing) && slices.Equal(k.hidden, v.hidden)
}

// alarmChains raises an alarm for each chain that is not on the page as it is not valid, once, and at each start.
func (m *Manager) alarmChains(k *keyset) {
	hidden := k.watchChains(m.reckon(k, clock())).hidden
	for _, g := range k.doc.Generations {
		for _, key := range g.Keys {
			if slices.Contains(hidden, key.KID) && !slices.Contains(k.lapsed, key.KID) {
				m.cfg.Logger.Error("ALARM: the certificate of a key is not valid and not on the page; the key is, without it",
					"keyset", k.name, "generation", g.Number, "state", string(g.State), "kid", key.KID, "not_before", key.Certified.NotBefore, "not_after", key.Certified.NotAfter)
			}
		}
	}
	k.lapsed = hidden
}

// logWarnings logs those that were not there before.
func (m *Manager) logWarnings(k *keyset, warnings []string) {
	for _, line := range warnings {
		if !slices.Contains(k.warned, line) {
			m.cfg.Logger.Warn("keyset needs a certificate", "keyset", k.name, "warning", line)
		}
	}
	k.warned = warnings
}
