package rotation_test

import (
	"errors"
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

// A keyset that waits for its turn on the token is asked again what it wants when that comes.
func TestReloadWhileAKeysetQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.config.Keysets["other"] = h.policy
		h.token.takes = time.Minute
		h.mustStart()
		defer h.stop()
		after(time.Second) // one makes its key, the other one waits
		rest, gone := "default", "other"
		if doc, err := h.store.Get(t.Context(), "other"); err != nil || doc.Last == 1 {
			rest, gone = gone, rest
		}
		h.reloaded2(map[string]rotation.Policy{rest: h.policy}, gone)
		after(10 * time.Minute)
		h.token.set(func(f *fakeToken) {
			if f.made != 2 {
				t.Errorf("%d keys were made, for one keyset", f.made)
			}
		})
	})
}
