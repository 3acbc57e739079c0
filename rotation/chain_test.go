package rotation_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/rotation"
)

// chainOf is what stands for a chain in tests, with its dates.
func chainOf(kid string, from, until time.Time) [][]byte {
	return [][]byte{fmt.Appendf(nil, "%d %d %s", from.Unix(), until.Unix(), kid)}
}

func datesOf(chain [][]byte) (from, until time.Time, err error) {
	var a, b int64
	var kid string
	if _, err := fmt.Sscanf(string(chain[0]), "%d %d %s", &a, &b, &kid); err != nil {
		return time.Time{}, time.Time{}, err
	}
	return time.Unix(a, 0), time.Unix(b, 0), nil
}

// external has the default keyset's chains come from outside.
func (h *house) external(require bool) {
	h.policy.External, h.policy.RequireChain = true, require
	h.config.Keysets["default"] = h.policy
	h.config.ChainDates = datesOf
}

// certifies has an issuer give chains that end after life, or when it does itself.
func (h *house) certifies(life time.Duration, ends time.Time) {
	h.config.ChainDates = datesOf
	h.config.Certify = func(_ context.Context, r rotation.CertRequest) ([][]byte, error) {
		if h.mu.Lock(); h.noIssuer != nil {
			defer h.mu.Unlock()
			return nil, h.noIssuer
		}
		h.mu.Unlock()
		if _, err := r.Signer.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
			return nil, err
		}
		until := time.Now().Add(life)
		if !ends.IsZero() && ends.Before(until) {
			until = ends
		}
		return chainOf(r.KID, r.NotBefore, until), nil
	}
}

// issuer has every certificate fail with err; nil: none.
func (h *house) issuer(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noIssuer = err
}

// swapsSoFar is how often the page was swapped.
func (h *house) swapsSoFar() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.swaps
}

// handIn hands in a chain for a key of the first generation in this state, which ends so much after the deed.
func handIn(s rotation.State, at, life time.Duration) deed {
	return deed{at, func(h *house) error {
		kid := h.kid(s)
		return h.manager.SetChain(h.t.Context(), "default", kid, chainOf(kid, h.began, h.began.Add(at+life)), act)
	}}
}

// chains checks that nobody who uses a page finds a chain on it that is not valid, and that who signs is known with
// its chain where that is wanted.
func (a *audience) chains(before, k *rotation.Keyset, now time.Time) error {
	slack := a.policy.ClockSkew + a.policy.VerifierCache
	for _, g := range k.Document.Generations {
		for _, key := range g.Keys {
			if len(key.Chain) == 0 {
				delete(a.bare, key.KID)
				continue
			}
			if from, until, err := datesOf(key.Chain); err == nil && (now.Before(from.Add(a.policy.ClockSkew)) || !now.Add(k.MaxAge()+slack).Before(until)) {
				return fmt.Errorf("%v: the page has a chain of %s that is valid from %v until %v", now, key.KID, from, until)
			}
			if _, known := a.bare[key.KID]; !known {
				a.bare[key.KID] = a.stale
			}
		}
	}
	if before != nil {
		for _, g := range before.Document.Generations {
			for _, key := range g.Keys {
				if len(key.Chain) == 0 {
					continue
				}
				if _, until, err := datesOf(key.Chain); err == nil && now.Add(before.MaxAge()+slack-time.Second).After(until) {
					return fmt.Errorf("%v: the page had a chain of %s that is valid until %v", now, key.KID, until)
				}
			}
		}
	}
	active, signs := k.Document.Active()
	was := rotation.Generation{}
	if before != nil {
		was, _ = before.Document.Active()
	}
	if !signs || was.Number == active.Number || !a.policy.External || a.accepts {
		return nil
	}
	for _, key := range active.Keys {
		if stale, shown := a.bare[key.KID]; !shown || now.Before(stale) {
			return fmt.Errorf("%v: generation %d signs, and a page without the chain of %s is used until %v (%v)", now, active.Number, key.KID, stale, shown)
		}
	}
	return nil
}

// shownChain is the chain of a key of a generation on the page; nil: it is there without.
func (h *house) shownChain(number int) [][]byte {
	g, ok := h.keyset().Document.Find(number)
	if !ok {
		h.t.Fatalf("there is no generation %d: %s", number, h.state())
	}
	return g.Keys[0].Chain
}

func (h *house) setChain(number int, until time.Time) error {
	g, _ := h.keyset().Document.Find(number)
	err := h.manager.SetChain(h.t.Context(), "default", g.Keys[0].KID, chainOf(g.Keys[0].KID, time.Now().Add(-time.Hour), until), act)
	synctest.Wait()
	return err
}

// The life of a keyset whose certificates come from outside: it waits for the first, rotates late for want of the second,
// and loses it in the end.
func TestExternalChains(t *testing.T) {
	for _, require := range []bool{false, true} {
		t.Run(fmt.Sprint(require), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.external(require)
				h.mustStart()
				defer func() { h.stop() }()
				reach := h.policy.MaxAge + h.policy.ClockSkew
				h.want("1 pending")
				if k := h.keyset(); len(k.Warnings) != 1 || !strings.Contains(k.Warnings[0], "generation 1 waits for the certificate of kid") || len(k.Missing) != 1 || k.Problem != "" {
					t.Errorf("%q, %q, %q", k.Warnings, k.Missing, k.Problem)
				}
				after(24 * time.Hour)
				h.want("1 pending")
				end := time.Now().Add(40 * time.Hour)
				if err := h.setChain(1, end); err != nil {
					t.Fatal(err)
				}
				if err := h.setChain(1, end); err != nil || h.by("chain set") != 1 {
					t.Errorf("again: %v, %d events", err, h.by("chain set"))
				}
				after(reach - 1)
				h.want("1 pending")
				after(1)
				h.want("1 active, 2 pending")
				activated := time.Now()
				plan, err := h.manager.Plan("default")
				if err != nil || len(plan) < 2 || plan[0].Kind != rotation.StepAwait || !plan[0].At.Equal(activated.Add(12*time.Hour-reach)) ||
					plan[1].Kind != rotation.StepActivate || !plan[1].At.Equal(activated.Add(12*time.Hour)) || !strings.Contains(plan[0].String(), "waits for the certificate of kid") {
					t.Errorf("plan: %v, %v", plan, err)
				}
				after(12*time.Hour - reach - h.policy.Lead/2 - 1)
				if k := h.keyset(); len(k.Warnings) != 0 {
					t.Errorf("too early: %q", k.Warnings)
				}
				after(1)
				if k := h.keyset(); len(k.Warnings) != 1 || !strings.Contains(k.Warnings[0], "generation 2 waits") || k.Problem != "" {
					t.Errorf("%q, %q", k.Warnings, k.Problem)
				}
				h.refused(h.rotate(""), rotation.RefusedNotYet, time.Time{})
				after(13*time.Hour - time.Since(activated))
				h.want("1 active, 2 pending")
				if k := h.keyset(); !strings.Contains(k.Problem, "the active generation signs longer") || !slices.Equal(k.Missing, []string{h.pending().Keys[0].KID}) {
					t.Errorf("%q, %q", k.Missing, k.Problem)
				}
				if err := h.setChain(2, end); err != nil {
					t.Fatal(err)
				}
				h.stop()
				after(time.Minute) // and a restart changes nothing of that
				h.mustStart()
				after(reach)
				h.want("1 retired, 2 active, 3 pending")

				// The end of the chain, in silence.
				leaves := end.Add(-reach)
				h.refused(h.manager.Freeze(t.Context(), "default", act, leaves.Add(time.Second)), rotation.RefusedBadRequest, leaves)
				if err := h.manager.Freeze(t.Context(), "default", act, leaves); err != nil {
					t.Error(err)
				}
				after(time.Until(leaves) - 1)
				if h.shownChain(2) == nil || len(h.keyset().Warnings) == 0 {
					t.Errorf("the chain left too early, or nobody said that it would: %q", h.keyset().Warnings)
				}
				after(1)
				signing := 1
				if require {
					signing = 0
				}
				if k := h.keyset(); h.shownChain(2) != nil || len(k.Signing) != signing || !strings.Contains(k.Problem, "has left the page") {
					t.Errorf("chain %s, %d keys sign, problem %q", h.shownChain(2), len(k.Signing), k.Problem)
				}
				if !strings.Contains(h.log.String(), "ALARM: the certificate of a key is not valid") {
					t.Error("no alarm")
				}
				h.stop()
				h.mustStart()
				if h.shownChain(2) != nil {
					t.Error("it is back after a restart")
				}
				if err := h.setChain(2, time.Now().Add(1000*time.Hour)); err != nil || h.by("chain renewed") != 1 {
					t.Error(err)
				}
				if k := h.keyset(); h.shownChain(2) == nil || len(k.Signing) != 1 {
					t.Errorf("chain %s, %d keys sign", h.shownChain(2), len(k.Signing))
				}
			})
		})
	}
}

func TestSetChainRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.external(false)
		h.mustStart()
		defer h.stop()
		kid, now := h.pending().Keys[0].KID, time.Now()
		reach := h.policy.MaxAge + h.policy.ClockSkew
		set := func(kid string, chain [][]byte) error {
			return h.manager.SetChain(t.Context(), "default", kid, chain, act)
		}
		h.refused(set("unknown", chainOf("a", now.Add(-time.Hour), now.Add(time.Hour))), rotation.RefusedUnknownKID, time.Time{})
		h.refused(set(kid, nil), rotation.RefusedBadRequest, time.Time{})
		h.refused(set(kid, [][]byte{[]byte("nothing")}), rotation.RefusedBadRequest, time.Time{})
		h.refused(set(kid, chainOf("a", now, now.Add(time.Hour))), rotation.RefusedBadRequest, now.Add(h.policy.ClockSkew))
		h.refused(set(kid, chainOf("a", now.Add(-time.Hour), now.Add(reach))), rotation.RefusedBadRequest, time.Time{})
		if _, err := h.manager.Revoke(t.Context(), "default", rotation.RevokeAct{Act: rotation.Act{By: "a", KID: kid}}); err != nil {
			t.Fatal(err)
		}
		h.refused(set(kid, chainOf("a", now.Add(-time.Hour), now.Add(time.Hour))), rotation.RefusedUnknownKID, time.Time{})
		p := h.policy
		p.External = false
		h.reloaded(p)
		h.refused(set(kid, chainOf("a", now.Add(-time.Hour), now.Add(time.Hour))), rotation.RefusedBadRequest, time.Time{})
	})
}

// An extended stay on the page has the chain renewed; an issuer that ends itself is asked once a day, and then the chain goes.
func TestChainsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.policy.Manual = true
		h.config.Keysets["default"] = h.policy
		h.certifies(100*24*time.Hour, time.Now().Add(300*24*time.Hour))
		h.mustStart()
		defer h.stop()
		h.want("1 active, 2 pending")
		before := string(h.shownChain(1)[0])
		after(90*24*time.Hour - time.Hour)
		if string(h.shownChain(1)[0]) != before {
			t.Error("renewed too early")
		}
		h.issuer(errors.New("no issuer today"))
		after(3 * time.Hour)
		if k := h.keyset(); !strings.Contains(k.Problem, "renewing the certificate") || h.shownChain(1) == nil {
			t.Errorf("problem %q", k.Problem)
		}
		h.issuer(nil)
		after(time.Minute)
		if k := h.keyset(); string(h.shownChain(1)[0]) == before || k.Problem != "" || len(h.events("chain renewed")) != 2 {
			t.Errorf("problem %q, %v", k.Problem, h.events("chain renewed"))
		}
		after(200 * 24 * time.Hour) // near the end of the issuer
		n := len(h.events("chain renewed"))
		swaps := h.swapsSoFar()
		after(8 * 24 * time.Hour)
		if len(h.events("chain renewed")) != n || h.swapsSoFar() > swaps+20 || h.shownChain(1) == nil {
			t.Errorf("%d renewals more, %d swaps", len(h.events("chain renewed"))-n, h.swapsSoFar()-swaps)
		}
		if k := h.keyset(); len(k.Warnings) == 0 || len(k.Missing) == 0 {
			t.Errorf("nobody says that the issuer ends: %q", k.Warnings)
		}
		h.refused(h.manager.Freeze(t.Context(), "default", act, time.Now().Add(6*24*time.Hour)), rotation.RefusedBadRequest, h.active().Keys[0].Certified.NotAfter.Add(-h.policy.MaxAge-h.policy.ClockSkew))
		after(6 * 24 * time.Hour)
		if k := h.keyset(); h.shownChain(1) != nil || len(k.Signing) != 1 || !strings.Contains(k.Problem, "has left the page") {
			t.Errorf("problem %q", k.Problem)
		}
	})
}

// A worker that waits for a token does not keep a chain on the page.
func TestChainLeavesWhileTokenWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.external(false)
		h.mustStart()
		defer h.stop()
		end := time.Now().Add(20 * time.Minute)
		if err := h.setChain(1, end); err != nil {
			t.Fatal(err)
		}
		h.token.set(func(f *fakeToken) { f.takes = 14 * time.Minute })
		after(time.Until(end.Add(-h.policy.MaxAge - h.policy.ClockSkew)))
		h.want("1 active")
		if h.shownChain(1) != nil {
			t.Error("it is there")
		}
	})
}

// Somebody sets the clock a year ahead: no chain leaves for that.
func TestClockTakesNoChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.external(true)
		h.mustStart()
		defer h.stop()
		if err := h.setChain(1, time.Now().Add(90*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		h.setClock(80 * 24 * time.Hour)
		after(20 * 24 * time.Hour) // 100 days by a clock that cannot be right
		if h.shownChain(1) == nil || len(h.keyset().Signing) != 1 {
			t.Errorf("problem %q", h.keyset().Problem)
		}
	})
}
