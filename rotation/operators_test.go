package rotation

import (
	"errors"
	"slices"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// What administrators and operators do to a world.

// family is what the keysets of some histories have in common.
type family int

const (
	dynamic    family = iota // keys that sign, made by keysetd
	mixed                    // that, or the administrator's
	encryption               // keys that others encrypt to
	certified                // keys that sign, with certificates
)

// draw draws a policy like p; like none if p is zero.
func (w *world) draw(p Policy) Policy {
	fresh := p.Token == ""
	if fresh {
		p = Policy{Token: "hsm", Usage: hsm.Sign, MaxFreeze: 24 * time.Hour, ManualPerDay: 24, ManualBurst: 3}
		if w.family == encryption {
			p.Usage = hsm.Decrypt
		}
	}
	if fresh || w.one(4) {
		p.Specs = [][]keyspec.Spec{{keyspec.P256}, {keyspec.RSA2048, keyspec.P256}, {keyspec.RSA2048}, {keyspec.P256, keyspec.P256}}[w.upTo(3)]
	}
	if w.family != encryption && (fresh || w.one(4)) {
		p.Algorithms = testAlgorithms[w.upTo(len(testAlgorithms)):]
	}
	if fresh || w.one(2) {
		p = w.drawTimes(p)
	}
	if w.family == certified && (fresh || w.one(4)) {
		p.External, p.RequireChain = w.one(2), w.one(3)
	}
	if w.family != mixed || !fresh && w.one(3) {
	} else if p.Static = nil; w.one(2) {
		p.Static = w.drawStatic()
	}
	if err := p.Validate(); err != nil {
		w.t.Fatalf("drawn policy: %v", err)
	}
	return p
}

func (w *world) drawTimes(p Policy) Policy {
	p.ClockSkew, p.VerifierCache = w.seconds(0, 60), w.seconds(0, 600)
	p.MaxAge = w.seconds(1, 3600)
	p.Lead = p.MaxAge + p.ClockSkew + p.VerifierCache + w.seconds(1, 3600)
	p.Period = p.Lead + w.seconds(0, 3600)
	p.Jitter = min(w.seconds(0, 60), p.Period/10)
	p.Retain = p.ClockSkew + w.seconds(1, 7200)
	p.MaxTokenLifetime = w.seconds(1, 14400)
	p.Manual, p.RetainUntilRevoked = w.one(10), w.one(10)
	if w.family == encryption {
		p.Lead, p.MaxTokenLifetime = 0, 0
		p.MaxMessageAge = w.seconds(1, 7200)
		p.Retain = p.MaxAge + p.ClockSkew + p.VerifierCache + p.MaxMessageAge + w.seconds(0, 3600)
	}
	return p
}

// drawStatic names keys of the administrator's, or, now and then, one that keysetd made.
func (w *world) drawStatic() []StaticKey {
	ref := func(id string) *StaticRef {
		r := &StaticRef{ID: []byte(id)}
		if w.one(5) {
			r.KID = "kid-of-" + id
		}
		return r
	}
	rsa := StaticKey{Type: RSA, Active: ref("admin-0"), Previous: ref("admin-1")}
	ec := StaticKey{Type: KeyType(keyspec.P256), Active: ref("admin-2"), Previous: ref("admin-3")}
	if w.one(2) {
		rsa.Active, rsa.Previous = rsa.Previous, rsa.Active
	}
	switch w.upTo(2) {
	case 1:
		ec.Active = ref("admin-4")
	case 2:
		ec.Active, ec.Previous = ec.Previous, ec.Active
	}
	for _, g := range w.doc.Generations {
		for _, k := range g.Keys {
			if k.Spec == keyspec.P256 && !g.Static && w.one(4) {
				ec.Active = &StaticRef{ID: k.ID}
			}
		}
	}
	if w.one(2) {
		rsa.Previous = nil
	}
	if w.one(2) {
		ec.Previous = nil
	}
	return [][]StaticKey{{ec}, {rsa, ec}, {rsa}}[w.upTo(2)]
}

// resolve finds what an adoption takes, as the Manager does.
func (w *world) resolve() (State, []Key, bool) {
	policy := w.rules()
	state, _ := w.doc.adoption(policy)
	refs := policy.Static
	if state == Retired {
		refs = w.doc.unadopted(policy)
	}
	var keys []Key
	for _, s := range refs {
		ref := s.Active
		if state == Retired {
			ref = s.Previous
		}
		if ref == nil {
			continue
		}
		key, his := w.admin[string(ref.ID)]
		if !his {
			key = Key{Spec: keyspec.P256, Token: "hsm", ID: ref.ID, Label: string(ref.ID), KID: string(ref.ID)}
		}
		if key.Usage = hsm.Sign; ref.KID != "" {
			key.KID = ref.KID
		}
		if !w.objects[string(key.ID)] || slices.ContainsFunc(w.doc.Revoked, func(r Revocation) bool { return r.KID == key.KID || string(r.ID) == string(key.ID) }) ||
			slices.ContainsFunc(w.doc.Intents, func(i Intent) bool {
				return slices.ContainsFunc(i.Objects, func(o Attempt) bool { return string(o.ID) == string(key.ID) })
			}) {
			return state, nil, false
		}
		if keys = append(keys, key); !his {
			w.named[string(key.ID)] = true
		}
	}
	return state, keys, true
}

// reconfigure puts another configuration in force.
func (w *world) reconfigure() {
	if !w.configured {
		w.configured = true
	}
	next := w.draw(w.policy)
	if w.one(3) {
		next = w.past
	}
	if why := w.doc.conflict(next); why != "" {
		w.t.Fatalf("conflict: %s", why)
	}
	w.t.Logf("%v: reload: %+v", w.now(), next)
	w.past, w.policy = w.policy, next
	w.show()
}

// act is something that somebody does.
func (w *world) act() {
	by := Act{By: "uid 1000", Why: "because"}
	now := w.now()
	switch n := w.upTo(23); {
	case n <= 8:
		return
	case n <= 12:
		w.reconfigure()
	case n <= 14:
		w.long()
	case n == 15 && w.configured:
		w.t.Logf("%v: remove", now)
		w.configured = false
		w.show()
		if w.one(4) {
			return // cut off; it is in the store and not in the configuration
		}
		doc, _ := w.doc.remove(by, w.policy, now)
		w.save(doc)
	case n <= 17 && w.governed():
		doc, _, _ := w.doc.freeze(by, now.Add(w.seconds(1, 20000)), w.rules(), now)
		w.save(doc)
	case n == 18 && w.governed():
		doc, _ := w.doc.thaw(by, now)
		w.save(doc)
	case n <= 20 && w.governed():
		w.rotate(by)
	case n >= 22:
		w.revoke(by, n == 23 && w.one(3))
	}
	if w.one(8) {
		w.restart()
	}
	w.show()
}

// governed reports whether a policy is in force that acts can follow.
func (w *world) governed() bool { return w.configured && w.doc.Removed.IsZero() }

func (w *world) rotate(by Act) {
	number, done, err := w.doc.rotatable(by, w.policy, w.now())
	if w.suspect() || err != nil || done {
		if _, ok := errors.AsType[*Refusal](err); err != nil && !ok {
			w.t.Fatal(err)
		}
		return
	}
	doc, _ := w.doc.rotate(number, by, w.policy, w.now())
	w.by = Step{Kind: "rotate"}
	w.save(doc)
	w.by = Step{}
}

func (w *world) revoke(by Act, all bool) {
	var keys []Key
	for _, g := range w.doc.Generations {
		keys = append(keys, g.Keys...)
	}
	if len(keys) == 0 {
		return
	}
	act := RevokeAct{Act: by, All: all, AcceptUnpublished: w.one(2), KeepObject: w.one(3)}
	act.KID = keys[w.upTo(len(keys)-1)].KID
	doc, _, err := w.doc.revoke(act, w.rules(), !w.suspect(), w.now())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range doc.Revoked {
		if _, his := w.admin[string(r.ID)]; r.Kept && !his {
			w.kept[string(r.ID)] = w.objects[string(r.ID)]
			if !w.kept[string(r.ID)] {
				delete(w.kept, string(r.ID))
			}
		}
	}
	w.t.Logf("%v: revoke %+v", w.now(), act)
	old, signed := w.doc.Active()
	next, signs := doc.Active()
	switch {
	case act.AcceptUnpublished && (doc.AcceptUnpublished || signs && next.Number != old.Number):
		w.Waive()
	case signed && signs && next.Number != old.Number && w.suspect() && !w.doc.AcceptUnpublished:
		w.t.Fatalf("generation %d is activated while the clock is suspect", next.Number)
	}
	w.save(doc)
}

// long signs tokens that live as long as the configuration allows, and that a watermark is for.
func (w *world) long() {
	active, ok := w.doc.Active()
	if !ok || w.doc.encrypts() || !w.configured || active.Number != w.activeShown() {
		return
	}
	life := w.policy.MaxTokenLifetime
	k := Keyset{Configured: true, Policy: w.policy, Document: w.doc}
	if life <= k.Guaranteed() {
		return
	}
	w.behind = max(0, w.accepts-w.off)
	w.marks[active.Number] = latest(w.marks[active.Number], w.now().Add(life))
	if err := w.signFor(life, w.real); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) activeShown() int {
	active, _ := w.Verifiers.doc.Active()
	return active.Number
}
