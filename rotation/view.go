package rotation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// view is k as readers should see it.
func (m *Manager) view(k *keyset, now time.Time) *Keyset {
	policy, follows := k.rules()
	v := &Keyset{Name: k.name, Configured: k.configured, Policy: k.policy}
	watch := k.watchChains(m.reckon(k, now))
	v.Document, v.hidden = k.doc.hide(watch.hidden), watch.hidden
	switch {
	case !k.configured && follows:
		v.Policy = policy
		v.Problem = strings.Join(append(k.failures(), m.unconfigured(k)...), "; ")
		return v
	case !k.configured:
		v.Policy = Policy{}
		v.Problem = "it is in the store and not in the configuration; it stays published as stored and does not sign: configure it again, or remove it with `keysetctl reload --remove " + k.name + "`"
		return v
	case !follows:
		v.Configured, v.Policy = false, Policy{} // it is shown as what it is, not as what it cannot be
		v.Problem = k.doc.conflict(k.policy)
		return v
	}
	active, _ := v.Document.Active()
	for _, key := range active.Keys {
		if key.Lost.IsZero() && m.cfg.Tokens[key.Token] != nil && (len(key.Chain) > 0 || !policy.RequireChain) {
			v.Signing = append(v.Signing, key)
		}
	}
	obs := m.observe(k, now)
	steps, next := Plan(k.doc.Document, k.policy, obs, now)
	v.Next = next
	parts := k.failures()
	parts = append(parts, k.losses()...)
	parts = append(parts, k.out()...)
	parts = append(parts, watch.problems...)
	v.Warnings, v.Missing = watch.warnings, watch.missing
	parts = append(parts, m.unconfigured(k)...)
	parts = append(parts, m.obstacles(k, steps, obs, now)...)
	v.Problem = strings.Join(parts, "; ")
	return v
}

// out says what cannot be signed since keys are out of service, and until when. A keyset of
// which nothing ever signed is being made, and has nothing to say.
func (k *keyset) out() (parts []string) {
	active, signing := k.doc.Active()
	signed := len(k.doc.Revoked) > 0 || slices.ContainsFunc(k.doc.Generations, func(g Generation) bool { return g.State == Retired })
	if signing && len(active.Revoked) == 0 || !signing && !signed {
		return nil
	}
	what, hint := "no key is in use", ""
	if signing {
		what = fmt.Sprintf("key %s of the active generation was revoked", strings.Join(active.Revoked, ", "))
	}
	if n := len(k.doc.Revoked); n > 0 {
		hint = fmt.Sprintf(": `keysetctl revoke %s --accept-unpublished` does not wait", k.doc.Revoked[n-1].KID)
	}
	a, ok := k.doc.activation(k.policy)
	switch {
	case ok:
		return []string{fmt.Sprintf("%s; generation %d takes over at %s, when every verifier can know it%s", what, a.Number, a.at.Format(time.RFC3339), hint)}
	case k.policy.static():
		return []string{what + "; name another active key in the configuration and reload"}
	}
	if await, _ := k.doc.awaits(k.policy, clock()); await.Kind != "" {
		return []string{fmt.Sprintf("%s; generation %d waits for its certificates%s", what, await.Generation, hint)}
	}
	return []string{what + "; the next generation is being made"}
}

// failures says what was tried and failed.
func (k *keyset) failures() (parts []string) {
	for _, s := range slices.SortedFunc(maps.Keys(k.failed), func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Token, b.Token))
	}) {
		if s != stepPublish {
			parts = append(parts, fmt.Sprintf("%v (it is tried again)", k.failed[s].err))
		}
	}
	return parts
}

// maxToldLost bounds how many lost keys are told of one by one.
const maxToldLost = 3

// losses says which keys are lost, and what is on tokens that nobody knows of.
func (k *keyset) losses() (parts []string) {
	lost := 0
	for _, g := range k.doc.Generations {
		for _, key := range g.lost() {
			if lost++; lost <= maxToldLost {
				parts = append(parts, fmt.Sprintf("key %s (%s, %s, generation %d) is lost since %s: token %s is logged in and does not have it; it stays published and does not sign: bring it back to the token, which is looked at every minute",
					key.KID, key.Spec, g.State, g.Number, key.Lost.Format(time.RFC3339), key.Token))
			}
		}
	}
	if more := lost - maxToldLost; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more keys are lost like these; `keysetctl status %s` marks them", more, k.name))
	}
	for _, name := range slices.Sorted(maps.Keys(k.strays)) {
		strays := k.strays[name]
		switch {
		case len(strays) == 0:
		case k.ahead[name]:
			parts = append(parts, fmt.Sprintf("token %s has %d keys of this keyset that the store does not know, with numbers that it never gave, the first is %s: the store is an old one, and those are the keys in use, so nothing is made beside them. Do not destroy them; put the newest backup of the store in its place, or rebuild it with `keysetd recover`",
				name, len(strays), strays[0]))
		default:
			parts = append(parts, fmt.Sprintf("token %s has %d keys with this keyset's label of which the store knows nothing, the first is %s; they are left alone: destroy them by hand if nobody needs them",
				name, len(strays), strays[0]))
		}
	}
	return parts
}

// unconfigured says which tokens k needs that the configuration does not have.
func (m *Manager) unconfigured(k *keyset) (parts []string) {
	for _, name := range k.doc.tokens() {
		if m.cfg.Tokens[name] == nil {
			parts = append(parts, fmt.Sprintf("token %s has keys of this keyset and is not in the configuration; they stay published, do not sign and are not destroyed: configure it again until they are gone", name))
		}
	}
	return parts
}

// obstacles says what keeps k from what would be due.
func (m *Manager) obstacles(k *keyset, steps []Step, obs Observation, now time.Time) (parts []string) {
	if why := m.clockTrouble(k, now); why != "" {
		parts = append(parts, why+"; nothing is activated, retired or destroyed until it agrees: set the clock, or accept it with `keysetctl clock accept`")
	}
	if n := k.doc.dismissed(); n >= maxDismissed {
		parts = append(parts, fmt.Sprintf("%d generations were made for configurations that have changed again, and are still published; the next one waits until some have gone", n))
	}
	if k.doc.needsNext(k.policy) && !k.policy.static() && !k.doc.mayAttempt(k.policy) {
		parts = append(parts, fmt.Sprintf("token %s has cut off %d attempts to make a key and may finish them yet; the next generation waits until they can be forgotten", k.policy.Token, len(k.doc.abandonedOn(k.policy.Token))))
	}
	ideal := obs
	ideal.Up, ideal.Counted = maps.Clone(obs.Up), maps.Clone(obs.Counted)
	var down []string
	for _, name := range append(k.doc.tokens(), k.policy.Token) {
		if m.cfg.Tokens[name] == nil || ideal.up(name) {
			continue
		}
		ideal.Up[name], ideal.Counted[name] = now, true
		down = append(down, name)
	}
	if wanted, _ := Plan(k.doc.Document, k.policy, ideal, now); len(wanted) > len(steps) {
		slices.Sort(down)
		parts = append(parts, fmt.Sprintf("token %s is down; until it is back nothing is made, activated or destroyed on it", strings.Join(down, ", ")))
	}
	return parts
}

// alarm raises an alarm for each key that is lost, once, and tells when one is back. An
// alarm is repeated at each start.
func (m *Manager) alarm(k *keyset) {
	lost := map[string]bool{}
	for _, g := range k.doc.Generations {
		for _, key := range g.lost() {
			id := string(key.ID)
			if lost[id] = true; !k.alarmed[id] {
				m.cfg.Logger.Error("ALARM: a key is not on its token any more; it stays published and does not sign",
					"keyset", k.name, "generation", g.Number, "state", string(g.State), "kid", key.KID, "spec", string(key.Spec), "token", key.Token, "id", fmt.Sprintf("%x", key.ID))
			}
		}
	}
	for _, g := range k.doc.Generations {
		for _, key := range g.Keys {
			if k.alarmed[string(key.ID)] && !lost[string(key.ID)] {
				m.cfg.Logger.Info("a key that was lost is on its token again", "keyset", k.name, "generation", g.Number, "kid", key.KID, "token", key.Token)
			}
		}
	}
	k.alarmed = lost
	m.alarmChains(k)
}
