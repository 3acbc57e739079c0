package rotation_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// effect finds the one of effects that says what.
func (h *house) effect(effects []rotation.Effect, what string) rotation.Effect {
	h.t.Helper()
	for _, e := range effects {
		if e.Keyset == "default" && strings.Contains(e.What, what) {
			return e
		}
	}
	h.t.Errorf("no effect says %q: %+v", what, effects)
	return rotation.Effect{}
}

// both previews a change of the default keyset, and then does it. They tell the same.
func (h *house) both(policy rotation.Policy) []rotation.Effect {
	h.t.Helper()
	before := h.manager.Snapshot()
	preview, err := h.manager.Preview(rotation.Change{Keysets: map[string]rotation.Policy{"default": policy}, Act: act})
	synctest.Wait()
	if err != nil || h.manager.Snapshot() != before {
		h.t.Errorf("preview: %v, and the snapshot is another: %t", err, h.manager.Snapshot() != before)
	}
	effects := h.reloaded(policy)
	if !reflect.DeepEqual(effects, preview) {
		h.t.Errorf("preview: %+v\nchange: %+v", preview, effects)
	}
	return effects
}

// comesTrue checks that at this time, and not before, a condition holds.
func (h *house) comesTrue(at time.Time, what string, holds func() bool) {
	h.t.Helper()
	if at.IsZero() {
		h.t.Fatalf("%s: no time is named", what)
	}
	if wait := time.Until(at) - 1; wait > 0 {
		after(wait)
		if holds() {
			h.t.Errorf("%s before %v: %s", what, at, h.state())
		}
	}
	after(time.Until(at))
	if !holds() {
		h.t.Errorf("not %s at %v: %s, problem %q", what, at, h.state(), h.keyset().Problem)
	}
}

func (h *house) signsWith(specs ...keyspec.Spec) func() bool {
	return func() bool {
		var got []keyspec.Spec
		for _, k := range h.keyset().Signing {
			got = append(got, k.Spec)
		}
		return slices.Equal(got, specs)
	}
}

func TestReloadChangesSpecs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		after(7 * time.Hour)
		p := h.policy
		p.Specs = []keyspec.Spec{keyspec.P256, keyspec.Ed25519}
		added := h.effect(h.both(p), "ed25519 is added")
		h.want("1 active, 2 pending, 3 pending")
		if at := h.keyset().Coming()[keyspec.Ed25519]; !at.Equal(added.At) {
			t.Errorf("coming at %v, said was %v", at, added.At)
		}
		h.comesTrue(added.At, "signs with both", h.signsWith(keyspec.P256, keyspec.Ed25519))
		after(time.Hour)
		p.Specs = []keyspec.Spec{keyspec.Ed25519}
		dropped := h.effect(h.both(p), "p-256 is dropped")
		h.comesTrue(dropped.At, "signs with one", h.signsWith(keyspec.Ed25519))
		if p := h.keyset().Problem; p != "" {
			t.Errorf("problem %q", p)
		}
		h.tally()
		after(48 * time.Hour)
		if n := len(h.keyset().Document.Generations); n > 3 {
			t.Errorf("what nobody wants is still there: %s", h.state())
		}
		h.tally()
	})
}

func TestReloadChangesAlgorithms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Algorithms = []jose.SignatureAlgorithm{jose.RS512}
		h.config.Keysets["default"] = h.policy
		h.mustStart()
		defer h.stop()
		signs := func(want ...jose.SignatureAlgorithm) func() bool {
			return func() bool { return slices.Equal(h.keyset().Document.SigningAlgorithms(), want) }
		}
		if !signs(jose.RS512)() { // from the first page on
			t.Errorf("signs with %v", h.keyset().Document.SigningAlgorithms())
		}
		after(time.Hour)
		p := h.policy
		p.Algorithms = []jose.SignatureAlgorithm{jose.RS512, jose.RS384}
		e := h.effect(h.both(p), "RS384 gets a kid of its own")
		if at := h.keyset().ComingAlgorithms()[jose.RS384]; !at.Equal(e.At) || !at.Equal(time.Now().Add(6*time.Hour)) {
			t.Errorf("coming at %v, said was %v", at, e.At)
		}
		h.comesTrue(e.At, "signs with RS384", signs(jose.RS512, jose.RS384))
		p.Algorithms = []jose.SignatureAlgorithm{jose.RS384}
		h.effect(h.both(p), "RS512 has no kid of its own any more")
		if !signs(jose.RS384)() {
			t.Error("it signs with what was dropped")
		}
		gone := time.Now().Add(12 * time.Hour)
		h.comesTrue(gone, "RS512 left the page", func() bool {
			return slices.Equal(h.keyset().Document.PublishedAlgorithms(), []jose.SignatureAlgorithm{jose.RS384})
		})
	})
}

// Whatever max-age a page had, what comes after it waits for it; audience sees to that.
func TestReloadChangesMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Lead = 2 * time.Hour
		h.config.Keysets["default"] = h.policy
		h.mustStart()
		defer h.stop()
		after(11 * time.Hour)
		p := h.policy
		p.MaxAge = 90 * time.Minute
		h.effect(h.both(p), "max_age 5m becomes 1h30m")
		if got := h.keyset().MaxAge(); got != p.MaxAge {
			t.Errorf("max-age %v", got)
		}
		after(30 * time.Minute)
		p.MaxAge = time.Minute
		var least time.Duration
		h.swapped = func(s *rotation.Snapshot) {
			if d := s.Keysets["default"].MaxAge(); least == 0 || d > least {
				least = d
			}
		}
		h.effect(h.both(p), "max_age 1h30m becomes 1m")
		if got := h.keyset().MaxAge(); got != p.MaxAge || least != p.MaxAge {
			t.Errorf("max-age %v, on pages up to %v", got, least)
		}
		// What is new now is known when the pages of half an hour ago are stale, and no sooner.
		h.revoke(h.revocation(h.active()))
		synctest.Wait()
		h.revoke(h.revocation(h.active()))
		if got, want := h.pending().UsableFrom, time.Now().Add(90*time.Minute+30*time.Second); !got.Equal(want) {
			t.Errorf("usable from %v, want %v", got, want)
		}
		after(90*time.Minute + 30*time.Second)
		if got := h.active().Number; got != 3 {
			t.Errorf("%s", h.state())
		}
		after(24 * time.Hour)
		h.tally()
	})
}

func TestReloadAddsAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustStart()
		defer h.stop()
		before := h.manager.Snapshot()
		refused := func(change rotation.Change, kind rotation.RefusalKind, want string) {
			t.Helper()
			change.Act = act
			_, preview := h.manager.Preview(change)
			_, err := h.manager.Reconfigure(t.Context(), change, h.publish)
			for _, err := range []error{preview, err} {
				if r, ok := errors.AsType[*rotation.Refusal](err); !ok || r.Kind != kind || !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %q", err, want)
				}
			}
			synctest.Wait()
			if h.manager.Snapshot() != before {
				t.Errorf("%s: something changed", want)
			}
		}
		with := func(name string, change func(*rotation.Policy)) map[string]rotation.Policy {
			p := h.policy
			change(&p)
			return map[string]rotation.Policy{"default": h.policy, name: p}
		}
		same := func(*rotation.Policy) {}
		bad := rotation.RefusedBadRequest
		refused(rotation.Change{Keysets: map[string]rotation.Policy{}}, bad, "keyset default is no longer in the configuration; to have it go, say so with --remove default")
		refused(rotation.Change{Keysets: with("default", same), Remove: []string{"default"}}, bad, "the configuration still has it")
		refused(rotation.Change{Keysets: with("default", same), Remove: []string{"nobody"}}, rotation.RefusedUnknownKeyset, "removing keyset nobody: there is none of this name")
		refused(rotation.Change{Keysets: with("default", func(p *rotation.Policy) { p.Lead = p.MaxAge })}, bad, "keyset default: lead 5m is not longer than max_age 5m plus clock_skew 30s")
		refused(rotation.Change{Keysets: with("other", func(p *rotation.Policy) { p.Token = "nowhere" })}, bad, `keyset other: its token "nowhere" is not configured`)
		refused(rotation.Change{Keysets: with("default", func(p *rotation.Policy) {
			p.Usage, p.MaxMessageAge = hsm.Decrypt, time.Hour
		})}, bad, "keyset default: its purpose cannot change between enc and the others")

		effects, err := h.reload(with("other", same))
		if err != nil || len(effects) != 1 || effects[0].Keyset != "other" || !strings.Contains(effects[0].What, "is new") {
			t.Fatalf("%+v, %v", effects, err)
		}
		synctest.Wait()
		if k := h.manager.Snapshot().Keysets["other"]; len(k.Document.Generations) != 2 || len(k.Signing) != 1 {
			t.Errorf("%+v", k)
		}
		h.tally()
	})
}

// When the page cannot be swapped nothing is as the change wants it, and all as it was.
func TestReloadWithAPageThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.config.Keysets["other"] = h.policy
		h.mustStart()
		defer func() { h.stop() }()
		before := h.manager.Snapshot()
		h.breaks(errors.New("no page today"))
		p := h.policy
		p.Specs, p.Period, p.Lead = []keyspec.Spec{keyspec.Ed25519}, time.Hour, 30*time.Minute
		if _, err := h.reload(map[string]rotation.Policy{"default": p, "third": p}, "other"); err == nil || !strings.Contains(err.Error(), "no page today") {
			t.Error(err)
		}
		synctest.Wait()
		if h.manager.Snapshot() != before {
			t.Error("something changed")
		}
		h.breaks(nil)
		after(12*time.Hour - 1)
		h.want("1 active, 2 pending")
		after(1)
		h.want("1 retired, 2 active, 3 pending")
		if !h.signsWith(keyspec.P256)() || h.keyset().Problem != "" {
			t.Errorf("signing %s, problem %q", h.signing(), h.keyset().Problem)
		}
		if s := h.manager.Snapshot(); len(s.Keysets) != 2 || len(s.Keysets["other"].Signing) != 1 {
			t.Errorf("%+v", s.Keysets)
		}
	})
}

// A generation that is being made by the old policy is finished, and what the new one wants follows.
func TestReloadWhileAGenerationIsMade(t *testing.T) {
	for name, change := range map[string]func(*rotation.Policy){
		"spec":    func(p *rotation.Policy) { p.Specs = []keyspec.Spec{keyspec.Ed25519} },
		"static":  func(p *rotation.Policy) { *p = static("one", "") },
		"removed": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.mustStart()
				defer h.stop()
				h.token.bring("one", keyspec.P384, nil)
				h.token.set(func(f *fakeToken) { f.takes = time.Minute })
				after(12 * time.Hour)
				h.want("1 retired, 2 active") // and the third is being made
				begin := time.Now()
				if change == nil {
					if _, err := h.reload(map[string]rotation.Policy{}, "default"); err != nil {
						t.Fatal(err)
					}
				} else {
					p := h.policy
					change(&p)
					h.reloaded(p)
				}
				if !time.Now().Equal(begin) {
					t.Errorf("it took %v", time.Since(begin))
				}
				after(10 * time.Minute)
				h.tally()
				after(13 * time.Hour)
				h.tally()
				if change != nil {
					specs := map[string]keyspec.Spec{"spec": keyspec.Ed25519, "static": keyspec.P384}
					if !h.signsWith(specs[name])() || h.keyset().Problem != "" {
						t.Errorf("%s, problem %q", h.state(), h.keyset().Problem)
					}
				} else if h.keyset() != nil || len(h.token.ids()) != 1 { // the administrator's
					t.Errorf("%+v, %d keys on the token", h.keyset(), len(h.token.ids()))
				}
			})
		})
	}
}

// A keyset that is removed signs no longer, stays published as long as its tokens may live, and then goes.
func TestReloadRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.config.Keysets["other"] = h.policy
		h.mustStart()
		defer func() { h.stop() }()
		after(13 * time.Hour)
		rest := map[string]rotation.Policy{"other": h.policy}
		effects, err := h.reload(rest, "default")
		if err != nil || !strings.Contains(h.effect(effects, "").What, "is removed: it signs no longer") {
			t.Fatalf("%+v, %v", effects, err)
		}
		if len(signers(h.keyset())) > 0 {
			t.Error("it signs")
		}
		synctest.Wait()
		end := time.Now().Add(12 * time.Hour) // retain
		h.want("1 retired, 2 retired, 3 retired")
		if k := h.keyset(); k.Configured || k.Problem != "" || h.by("keyset removed") != 1 {
			t.Errorf("problem %q, %d events", k.Problem, h.by("keyset removed"))
		}
		if err := h.rotate(""); err == nil || !strings.Contains(err.Error(), "is not in the configuration") {
			t.Error(err)
		}
		if err := h.outlive(time.Now().Add(time.Hour)); !errors.Is(err, rotation.ErrNotLive) {
			t.Error(err)
		}
		after(time.Hour)
		h.stop()
		h.mustStart()
		if effects, err := h.reload(rest, "default"); err != nil || len(effects) != 0 { // again
			t.Errorf("%+v, %v", effects, err)
		}
		plan, err := h.manager.Plan("default")
		if err != nil || len(plan) != 6 || !plan[5].At.Equal(end) {
			t.Errorf("%+v, %v; want the end at %v", plan, err, end)
		}
		after(time.Until(end) - 1)
		if got := h.state(); !strings.HasSuffix(got, "2 retired, 3 retired") {
			t.Error(got)
		}
		after(1)
		if h.keyset() != nil {
			t.Errorf("it is still there: %s", h.state())
		}
		h.tally()
		if err := h.rotate(""); err == nil {
			t.Error("rotated")
		} else {
			h.refused(err, rotation.RefusedUnknownKeyset, time.Time{})
		}

		// It comes back under its name: no number is used twice, and its first key waits for the
		// pages of before.
		h.stop()
		h.mustStart()
		after(time.Minute)
		h.reloaded2(map[string]rotation.Policy{"default": h.policy, "other": h.policy})
		h.want("4 pending")
		after(5*time.Minute + 30*time.Second)
		h.want("4 active, 5 pending")
		if h.keyset().Problem != "" || len(h.events("keyset back")) != 1 {
			t.Errorf("problem %q", h.keyset().Problem)
		}
		h.tally()

		// Gone and back in a moment: its keys are retired, and the next one is new to verifiers.
		h.reloaded2(rest, "default")
		after(time.Second)
		h.reloaded2(map[string]rotation.Policy{"default": h.policy, "other": h.policy})
		h.want("4 retired, 5 retired, 6 pending")
		usable := time.Now().Add(5*time.Minute + 30*time.Second)
		h.comesTrue(usable, "signs", func() bool { return h.active().Number == 6 })
		h.tally()
	})
}

func (h *house) reloaded2(keysets map[string]rotation.Policy, remove ...string) {
	h.t.Helper()
	if _, err := h.reload(keysets, remove...); err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
}

// A keyset that vanished while the daemon was down can be removed too.
func TestReloadRemovesWhatVanished(t *testing.T) {
	for _, usage := range []hsm.Usage{hsm.Sign, hsm.Decrypt} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			if usage == hsm.Decrypt {
				h.policy = rotation.Policy{Specs: []keyspec.Spec{keyspec.P256}, Token: "hsm", Usage: usage, Period: 12 * time.Hour, MaxMessageAge: time.Hour}.WithDefaults()
				h.config.Keysets["default"] = h.policy
			}
			h.mustStart()
			after(13 * time.Hour)
			shown := published(h.keyset())
			h.stop()
			h.config.Keysets = map[string]rotation.Policy{}
			h.mustStart()
			defer h.stop()
			if got := published(h.keyset()); !slices.Equal(got, shown) {
				t.Errorf("published %v, was %v", got, shown)
			}
			h.reloaded2(map[string]rotation.Policy{}) // still not
			h.want("1 retired, 2 active, 3 pending")
			h.reloaded2(map[string]rotation.Policy{}, "default")
			if got := published(h.keyset()); usage == hsm.Decrypt && len(got) > 0 {
				t.Errorf("people are asked to encrypt to %v", got)
			}
			after(24 * time.Hour)
			if h.keyset() != nil {
				t.Errorf("it is still there: %s", h.state())
			}
			h.tally()
		})
	}
}

// Reloads and acts come at the same time as steps of many keysets.
func TestReloadsAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		keysets := map[string]rotation.Policy{}
		p := h.policy
		p.Period, p.Lead, p.Retain, p.MaxTokenLifetime = time.Hour, 30*time.Minute, time.Hour, 30*time.Minute
		for i := range 20 {
			keysets[fmt.Sprintf("keyset-%d", i)] = p
		}
		keysets["default"] = p
		h.config.Keysets = keysets
		h.token.takes = time.Second
		h.mustStart()
		defer h.stop()
		for i := range 30 {
			p.MaxAge = time.Duration(i+1) * 10 * time.Second
			next := map[string]rotation.Policy{}
			for name := range keysets {
				next[name] = p
			}
			go h.manager.Rotate(t.Context(), fmt.Sprintf("keyset-%d", i%20), act)
			go h.manager.Preview(rotation.Change{Keysets: next})
			h.reloaded2(next)
			after(7 * time.Minute)
		}
		for name, k := range h.manager.Snapshot().Keysets {
			if len(k.Signing) != 1 || k.Problem != "" {
				t.Errorf("%s: %+v, problem %q", name, k.Signing, k.Problem)
			}
		}
		after(10 * time.Minute)
		h.tally()
	})
}
