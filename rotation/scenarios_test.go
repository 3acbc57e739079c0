package rotation_test

import (
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// scenario is a piece of a keyset's life in which some of the transitions there are happen. Whatever
// goes wrong once in it, in the end all is as it should be.
type scenario struct {
	name    string
	prepare func(*house) // nil: a keyset with one spec
	deeds   []deed
	length  time.Duration
	// generations that are live in the end; -1 where the keyset is gone.
	generations int
}

// deed is what somebody does, at a time from the start, and again until it succeeds.
type deed struct {
	at time.Duration
	do func(*house) error
}

// hourly is the policy of the scenarios: a generation an hour, on the page half an hour before.
func hourly(p rotation.Policy) rotation.Policy {
	p.Period, p.Lead, p.Retain, p.MaxTokenLifetime = time.Hour, 30*time.Minute, time.Hour, 30*time.Minute
	return p
}

func scenarios() []scenario {
	return []scenario{
		{name: "life of two specs", length: 190 * time.Minute, generations: 3,
			prepare: func(h *house) { h.policy.Specs = []keyspec.Spec{keyspec.P256, keyspec.Ed25519} }},
		{name: "revocations", length: 150 * time.Minute, generations: 3, deeds: []deed{
			{5 * time.Second, revoking(rotation.Active, rotation.RevokeAct{})}, // nothing may follow yet
			{50 * time.Minute, revoking(rotation.Active, rotation.RevokeAct{})},
			{51 * time.Minute, revoking(rotation.Pending, rotation.RevokeAct{})},
			{85 * time.Minute, func(h *house) error { // and two hours before it is due
				return h.manager.Rotate(h.t.Context(), "default", rotation.Act{By: act.By, KID: h.kid(rotation.Active)})
			}},
			{86 * time.Minute, revoking(rotation.Retired, rotation.RevokeAct{KeepObject: true})},
		}},
		{name: "revoked all", length: 140 * time.Minute, generations: 3, deeds: []deed{
			{40 * time.Minute, revoking("", rotation.RevokeAct{All: true})},
			{41 * time.Minute, func(h *house) error { h.accepts(true); return nil }},
			{41 * time.Minute, revoking(rotation.Pending, rotation.RevokeAct{AcceptUnpublished: true})},
		}},
		{name: "rotation by hand, freeze and thaw", length: 165 * time.Minute, generations: 3, deeds: []deed{
			{35 * time.Minute, func(h *house) error {
				return h.manager.Rotate(h.t.Context(), "default", rotation.Act{By: act.By, KID: h.kid(rotation.Active)})
			}},
			{40 * time.Minute, func(h *house) error {
				return h.manager.Freeze(h.t.Context(), "default", act, h.began.Add(125*time.Minute))
			}},
			{110 * time.Minute, func(h *house) error { return h.manager.Thaw(h.t.Context(), "default", act) }},
		}},
		{name: "specs and algorithms come and go", length: 260 * time.Minute, generations: 3, deeds: []deed{
			{10 * time.Minute, reloading(func(p *rotation.Policy) { p.Algorithms = []jose.SignatureAlgorithm{jose.RS384} })},
			{20 * time.Minute, reloading(func(p *rotation.Policy) { p.Specs = []keyspec.Spec{keyspec.P256, keyspec.Ed25519} })},
			{70 * time.Minute, reloading(func(p *rotation.Policy) { p.Specs, p.MaxAge = []keyspec.Spec{keyspec.Ed25519}, 10*time.Minute })},
			{80 * time.Minute, reloading(func(p *rotation.Policy) { p.Algorithms, p.MaxAge = nil, time.Minute })},
		}},
		{name: "static keys", length: 200 * time.Minute, generations: 1,
			prepare: func(h *house) {
				for _, label := range []string{"one", "two"} {
					h.token.bring(label, keyspec.P384, nil)
				}
				h.policy = static("one", "")
			},
			deeds: []deed{
				{10 * time.Minute, reloading(func(p *rotation.Policy) { p.Static = static("two", "one").Static })},
				{100 * time.Minute, reloading(func(p *rotation.Policy) { p.Static = static("two", "").Static })},
			}},
		{name: "dynamic and static", length: 190 * time.Minute, generations: 1,
			prepare: func(h *house) { h.token.bring("one", keyspec.P384, nil) },
			deeds: []deed{
				{5 * time.Minute, reloading(func(p *rotation.Policy) { p.Static = static("one", "").Static })},
				{50 * time.Minute, reloading(func(p *rotation.Policy) { p.Static = nil })},
				{85 * time.Minute, reloading(func(p *rotation.Policy) { p.Static = static("one", "").Static })},
			}},
		{name: "removed", length: 130 * time.Minute, generations: -1, deeds: []deed{{40 * time.Minute, removing}}},
		{name: "removed and back", length: 230 * time.Minute, generations: 3, deeds: []deed{
			{40 * time.Minute, removing},
			{60 * time.Minute, restoring}, // its old keys are there still
			{70 * time.Minute, removing},
			{160 * time.Minute, restoring}, // and now they are gone
		}},
		{name: "watermarks", length: 190 * time.Minute, generations: 4,
			prepare: func(h *house) { h.policy.MaxTokenLifetime = 3 * time.Hour },
			deeds: []deed{
				{50 * time.Minute, func(h *house) error { return h.outlive(time.Now().Add(150 * time.Minute)) }},
				{52 * time.Minute, func(h *house) error { return h.outlive(time.Now().Add(150 * time.Minute)) }},
			}},
		{name: "certificates from outside", length: 187 * time.Minute, generations: 3,
			prepare: func(h *house) { h.external(true) },
			deeds: []deed{
				handIn(rotation.Pending, 5*time.Second, 20*time.Hour),
				handIn(rotation.Pending, 20*time.Minute, 20*time.Hour),
				handIn(rotation.Active, 30*time.Minute, 30*time.Hour),
				handIn(rotation.Pending, 80*time.Minute, 20*time.Hour),
				handIn(rotation.Pending, 140*time.Minute, 20*time.Hour),
			}},
		{name: "certificates renewed", length: 175 * time.Minute, generations: 3,
			prepare: func(h *house) { h.certifies(100*time.Minute, time.Time{}) }},
		{name: "an unfinished generation", length: 75 * time.Minute, generations: 3,
			prepare: func(h *house) { h.token.cutOff = 90 * time.Second }},
	}
}

// kid of a key of the first generation in this state, always the same one for one deed. The empty state is none.
func (h *house) kid(s rotation.State) string {
	key := [2]string{string(s), h.deed}
	if kid := h.named[key]; kid != "" || s == "" {
		return kid
	}
	for _, g := range h.keyset().Document.Generations {
		if g.State == s {
			h.named[key] = g.Keys[0].KID
			return h.named[key]
		}
	}
	return "nobody"
}

func revoking(s rotation.State, a rotation.RevokeAct) func(*house) error {
	return func(h *house) error {
		a := a
		a.By, a.Why, a.KID = act.By, act.Why, h.kid(s)
		_, err := h.manager.Revoke(h.t.Context(), "default", a)
		return err
	}
}

// reloading changes the file, and then has it read. A start reads it too.
func reloading(change func(*rotation.Policy)) func(*house) error {
	return func(h *house) error {
		change(&h.policy)
		h.config.Keysets = map[string]rotation.Policy{"default": h.policy}
		_, err := h.manager.Reconfigure(h.t.Context(), rotation.Change{Keysets: h.config.Keysets, Act: act}, h.publish)
		return err
	}
}

func removing(h *house) error {
	h.config.Keysets = map[string]rotation.Policy{}
	_, err := h.manager.Reconfigure(h.t.Context(), rotation.Change{Remove: []string{"default"}, Act: act}, h.publish)
	return err
}

func restoring(h *house) error { return reloading(func(*rotation.Policy) {})(h) }
