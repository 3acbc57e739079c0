package rotation

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Verifiers are all the verifiers that there could be: whoever may hold a body holds it, for as long as it
// was told then and as the configuration says. With them come the signers, who sign with every key and kid that
// they are shown, at the worst instants: right after a swap, and right before the next one; and whoever
// encrypts, to every key on every body. Show hears of each swap and tells what could not be verified, or
// opened. The tests of this directory's external package use them too.
type Verifiers struct {
	bodies []*body // that may be held, oldest first
	served *body   // the last of them
	maxAge time.Duration
	policy Policy
	doc    Document

	valid   map[string]time.Time // by kid: until when a token with it may be valid
	dead    map[string]bool      // kids that were revoked
	retired map[int]promise
	waived  map[int]bool // generations that an operator had signing before they were known
	waive   bool         // it is for the next one
	// behind is by how much the signers' clock is known to be behind: what they sign ends that much earlier.
	behind time.Duration
	hidden []string // kids whose chains the page does not have

	use    map[string]time.Time // by CKA_ID: until when a body with it may be used
	opened map[string]time.Time // and until when a message may be sent that was made before max_message_age changed
}

// body is what a JWKS says.
type body struct {
	keys  map[string]string // CKA_ID by kid
	until time.Time         // whoever got it last may hold it until then; zero while it is served
	slack time.Duration     // and for so much longer
	bare  map[string]bool   // CKA_IDs of keys without a chain
}

// promise is since when a generation is retired, and for how long it is to stay at least.
type promise struct {
	since  time.Time
	retain time.Duration
}

// held reports whether anybody may still use b. What verifiers are now said to do counts, and what was put
// down of that since b was served.
func (v *Verifiers) held(b *body, now time.Time) bool {
	return b.until.IsZero() || now.Before(b.until.Add(max(b.slack, v.policy.freshness().slack())))
}

// said is how much longer than its max-age verifiers are said to keep a body that is served now. More than was
// put down counts for as long as it is said.
func said(doc Document, policy Policy) time.Duration {
	return min(doc.Served.slack(), policy.freshness().slack())
}

// Waive has the next generation sign although nobody may know it.
func (v *Verifiers) Waive() { v.waive = true }

// forgive: the clock is another one for everybody, and so is what is valid by it.
func (v *Verifiers) forgive() {
	for _, b := range v.bodies {
		b.bare = nil
	}
}

// Show swaps the page and the signers. The zero policy is that of a keyset that is not configured.
func (v *Verifiers) Show(doc Document, policy Policy, maxAge time.Duration, now time.Time) error {
	if v.valid == nil {
		v.valid, v.dead, v.retired, v.waived = map[string]time.Time{}, map[string]bool{}, map[int]promise{}, map[int]bool{}
		v.use, v.opened = map[string]time.Time{}, map[string]time.Time{}
	}
	if err := v.sign(now); err != nil { // the last ones before the swap
		return err
	}
	v.forget(doc, policy, now)
	for _, r := range doc.Revoked {
		v.dead[r.KID] = true
		for _, alg := range testAlgorithms {
			v.dead[r.KID+"-"+string(alg)] = true
		}
	}
	old, before := v.served, v.doc
	if err := v.swap(doc, policy, maxAge, now); err != nil {
		return err
	}
	if old != nil && !doc.encrypts() {
		for kid := range old.keys {
			if v.served != nil && v.served.keys[kid] != "" || v.dead[kid] {
				continue
			}
			if valid := v.valid[kid].Add(policy.ClockSkew); now.Before(valid) {
				return fmt.Errorf("%v: %s left the page, a token with it is valid until %v", now, kid, valid)
			}
		}
	}
	return v.compare(before, doc, policy, now)
}

// forget drops bodies that nobody holds any more, and has those that are held stay for as long
// as verifiers are now said to keep them.
func (v *Verifiers) forget(doc Document, policy Policy, now time.Time) {
	if policy.MaxMessageAge != v.policy.MaxMessageAge {
		if v.served != nil {
			for _, id := range v.served.keys {
				v.use[id] = latest(v.use[id], now)
			}
		}
		for id, until := range v.use {
			if now.Before(until) {
				until = now
			}
			v.opened[id] = latest(v.opened[id], until.Add(min(v.policy.MaxMessageAge, v.lifetime(id))))
		}
	}
	kept := v.bodies[:0]
	for _, b := range v.bodies {
		if v.held(b, now) {
			b.slack = max(b.slack, said(doc, policy))
			kept = append(kept, b)
		}
	}
	v.bodies = kept
}

// lifetime is what was put down of how old messages to a key may be.
func (v *Verifiers) lifetime(id string) (life time.Duration) {
	for _, g := range v.doc.Generations {
		for _, key := range g.Keys {
			if string(key.ID) == id {
				life = max(life, g.Lifetime)
			}
		}
	}
	return life
}

// swap serves the page of doc from now on.
func (v *Verifiers) swap(doc Document, policy Policy, maxAge time.Duration, now time.Time) error {
	k := Keyset{Configured: policy.Token != "", Policy: policy, Document: doc}
	keys, bare := map[string]string{}, map[string]bool{}
	for _, g := range k.Published() {
		for _, key := range g.Keys {
			if len(key.Chain) == 0 || slices.Contains(v.hidden, key.KID) {
				bare[string(key.ID)] = true
			}
			for _, kid := range doc.testKIDs(key, doc.encrypts()) {
				if other := keys[kid]; other != "" && other != string(key.ID) {
					return fmt.Errorf("%v: kid %s stands for %q and %q", now, kid, other, key.ID)
				}
				if keys[kid] = string(key.ID); v.dead[kid] {
					return fmt.Errorf("%v: %s is on the page, which was revoked", now, kid)
				}
			}
		}
	}
	slack := said(doc, policy)
	switch same := v.served != nil && maps.Equal(v.served.keys, keys) && maps.Equal(v.served.bare, bare); {
	case same && maxAge == v.maxAge && slack == said(v.doc, v.policy):
	default:
		if v.served != nil {
			v.served.until = now.Add(v.maxAge)
		}
		if v.served = nil; len(doc.Generations) > 0 {
			v.served = &body{keys: keys, slack: slack, bare: bare}
			v.bodies = append(v.bodies, v.served)
		}
	}
	for _, b := range v.bodies {
		until := b.until.Add(b.slack)
		if b.until.IsZero() {
			until = now.Add(maxAge + b.slack)
		}
		for _, id := range b.keys {
			v.use[id] = latest(v.use[id], until)
		}
	}
	old, _ := v.doc.Active()
	active, signs := doc.Active()
	if v.waive && signs && active.Number != old.Number {
		v.waived[active.Number], v.waive = true, false
	}
	if signs && active.Number != old.Number && policy.awaitsChain() && !v.waived[active.Number] {
		for _, key := range active.Keys {
			if _, until := doc.span(key, policy); !until.IsZero() && !now.Before(until) {
				continue // it left the page between the decision and its effect: as when that happens to the active one
			}
			for _, b := range v.bodies {
				if v.held(b, now) && b.bare[string(key.ID)] {
					return fmt.Errorf("%v: generation %d signs, a body without the chain of %s is used until %v and %v", now, active.Number, key.KID, b.until, b.slack)
				}
			}
		}
	}
	v.doc, v.policy, v.maxAge = doc, policy, maxAge
	return v.sign(now)
}

// compare tells which promise the swap broke.
func (v *Verifiers) compare(before, doc Document, policy Policy, now time.Time) error {
	_, signed := before.Active()
	_, signs := doc.Active()
	if signed && !signs && doc.Removed.IsZero() && len(doc.Revoked) == len(before.Revoked) {
		return fmt.Errorf("%v: nothing signs any more", now)
	}
	for _, g := range doc.Generations {
		if p, ok := v.retired[g.Number]; g.State == Retired && !ok {
			v.retired[g.Number] = promise{now, policy.Retain}
		} else if g.State == Retired {
			v.retired[g.Number] = promise{p.since, min(p.retain, policy.Retain)}
		}
	}
	for _, g := range before.Generations {
		if i := doc.index(g.Number); i >= 0 {
			continue
		}
		left := 0
		for _, key := range g.Keys {
			if v.dead[key.KID] {
				continue
			}
			left++
			id := string(key.ID)
			for _, b := range v.bodies {
				if slices.Contains(slices.Collect(maps.Values(b.keys)), id) {
					v.use[id] = latest(v.use[id], b.until.Add(policy.freshness().slack()))
				}
			}
			if until := latest(v.opened[id], v.use[id].Add(policy.MaxMessageAge)); doc.encrypts() && !doc.has(key) && !v.use[id].IsZero() && now.Before(until) {
				return fmt.Errorf("%v: %s cannot decrypt any more; messages to it come until %v", now, id, until)
			}
		}
		p, ok := v.retired[g.Number]
		if left > 0 && (!ok || policy.RetainUntilRevoked || g.pinned(policy) || now.Before(p.since.Add(p.retain))) {
			return fmt.Errorf("%v: generation %d left the page; retired %v, retain %v", now, g.Number, p.since, p.retain)
		}
	}
	return nil
}

// sign has every key sign under every kid that it has now, and every verifier look for that.
func (v *Verifiers) sign(now time.Time) error {
	k := Keyset{Configured: v.policy.Token != "", Policy: v.policy, Document: v.doc}
	return v.signFor(k.Guaranteed(), now)
}

func (v *Verifiers) signFor(life time.Duration, now time.Time) error {
	active, ok := v.doc.Active()
	if !ok || v.policy.Token == "" || v.doc.encrypts() {
		return nil
	}
	for _, key := range active.Keys {
		if !key.Lost.IsZero() {
			continue
		}
		kids := []string{key.KID}
		if key.Spec.RSA() {
			for _, alg := range v.doc.SigningAlgorithms() {
				kids = append(kids, key.KID+"-"+string(alg))
			}
		}
		for _, kid := range kids {
			v.valid[kid] = latest(v.valid[kid], now.Add(life-v.behind))
			if v.dead[kid] {
				return fmt.Errorf("%v: a token is signed by %s, which was revoked", now, kid)
			}
			for _, b := range v.bodies {
				if v.held(b, now) && b.keys[kid] != string(key.ID) && !v.waived[active.Number] {
					return fmt.Errorf("%v: generation %d signs with %s, a body without it is used until %v and %v", now, active.Number, kid, b.until, b.slack)
				}
			}
		}
	}
	return nil
}

// testKIDs are the kids under which the page of d shows a key.
func (d Document) testKIDs(k Key, encrypts bool) []string {
	kids := []string{k.KID}
	if k.Spec.RSA() && !encrypts {
		for _, alg := range d.PublishedAlgorithms() {
			kids = append(kids, k.KID+"-"+string(alg))
		}
	}
	return kids
}
