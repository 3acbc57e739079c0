package rotation

import (
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

func frozen(until string, gens ...Generation) Document {
	d := document(gens...)
	d.FrozenUntil = at(until)
	return d
}

func removed(gens ...Generation) Document {
	d := document(gens...)
	d.Removed = t0
	return d
}

func accepted(d Document) Document {
	d.AcceptUnpublished = true
	return d
}

// impaired has one of its keys revoked.
func impaired(g *Generation) { g.Revoked = []string{"gone"} }

// misfit has a key that testPolicy does not want.
func misfit(g *Generation) { g.Keys[0].Spec = keyspec.P384 }

// knownFrom is for pending generations.
func knownFrom(s string) func(*Generation) { return func(g *Generation) { g.UsableFrom = at(s) } }

func TestActivation(t *testing.T) {
	cached, enc := func(p *Policy) { p.VerifierCache = time.Hour }, func(p *Policy) { p.Usage, p.Lead, p.MaxMessageAge = hsm.Decrypt, 0, time.Hour }
	manual := func(p *Policy) { p.Manual, p.Period = true, 0 }
	for _, tt := range []struct {
		name   string
		doc    Document
		policy func(*Policy)
		number int // 0: none by time
		at     string
	}{
		{name: "after the period", doc: document(gen(1, Active), gen(2, Pending)), number: 2, at: "12h"},
		{name: "period from when it was scheduled", doc: document(gen(1, Active, func(g *Generation) { g.Scheduled = at("-1h") }), gen(2, Pending)), number: 2, at: "11h"},
		{name: "lead lowered: what verifiers may hold still counts", doc: document(gen(1, Active), gen(2, Pending, knownFrom("13h"))), policy: func(p *Policy) { p.Lead = time.Hour }, number: 2, at: "13h"},
		{name: "another spec is wanted, and nothing is there", doc: document(gen(1, Active, misfit), gen(2, Pending, misfit))},
		{name: "another one is wanted and pending: the period is not waited for", doc: document(gen(1, Active, misfit), gen(2, Pending, misfit), gen(3, Pending)), number: 3, at: "6h"},
		{name: "the lead is", doc: document(gen(1, Active, misfit), gen(2, Pending, knownFrom("7h"))), number: 2, at: "7h"},
		{name: "by hand too", doc: document(gen(1, Active, misfit), gen(2, Pending)), policy: manual, number: 2, at: "6h"},
		{name: "but nothing else is", doc: document(gen(1, Active), gen(2, Pending)), policy: manual},
		{name: "the active one fits, the pending one does not", doc: document(gen(1, Active), gen(2, Pending, misfit))},
		{name: "frozen", doc: frozen("20h", gen(1, Active), gen(2, Pending)), number: 2, at: "20h"},
		{name: "frozen, and another one is wanted", doc: frozen("20h", gen(1, Active, misfit), gen(2, Pending)), number: 2, at: "20h"},
		{name: "impaired: as soon as it is known, in a freeze", doc: frozen("20h", gen(1, Active, impaired), gen(2, Pending)), number: 2, at: "5m30s"},
		{name: "impaired: by hand", doc: document(gen(1, Active, lost), gen(2, Pending)), policy: manual, number: 2, at: "5m30s"},
		{name: "impaired: whichever is known first, wanted or not", doc: document(gen(1, Active, lost), gen(2, Pending, knownFrom("2h")), gen(3, Pending, misfit, knownFrom("1h"))), number: 3, at: "1h"},
		{name: "impaired ones do not follow", doc: document(gen(1, Active, lost), gen(2, Pending, impaired), gen(3, Pending, knownFrom("2h"))), number: 3, at: "2h"},
		{name: "nor do those nobody has seen", doc: document(gen(1, Active, lost), unpublished(2))},
		{name: "nothing signs", doc: document(gen(1, Retired), gen(2, Pending)), number: 2, at: "5m30s"},
		{name: "nothing signs, and that nobody knows is accepted", doc: accepted(document(gen(1, Retired), gen(2, Pending))), number: 2, at: "0s"},
		{name: "it is accepted, and the active one is well", doc: accepted(document(gen(1, Active), gen(2, Pending))), number: 2, at: "12h"},
		{name: "removed", doc: removed(gen(1, Active), gen(2, Pending))},
		{name: "verifiers said to cache for longer, not put down yet", doc: document(gen(1, Retired), gen(2, Pending)), policy: cached, number: 2, at: "1h5m30s"},
		{name: "nor where another signs", doc: document(gen(1, Active, misfit), gen(2, Pending, knownFrom("6h"))), policy: cached, number: 2, at: "7h"},
		{name: "decrypting: nobody has to know", doc: document(gen(1, Active, misfit), gen(2, Pending, knownFrom("0s"))), policy: enc, number: 2, at: "0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			policy := testPolicy()
			if tt.policy != nil {
				tt.policy(&policy)
			}
			a, ok := tt.doc.activation(policy)
			if ok != (tt.number > 0) || ok && (a.Number != tt.number || !a.at.Equal(at(tt.at)) || a.why == "") {
				t.Errorf("%v: generation %d at %v (%s), want %d at %s", ok, a.Number, a.at, a.why, tt.number, tt.at)
			}
		})
	}
}

func TestScheduled(t *testing.T) {
	policy, manual := testPolicy(), testPolicy()
	policy.Jitter, manual.Manual = time.Minute, true
	for _, tt := range []struct {
		name      string
		doc       Document
		policy    Policy
		now, want string
	}{
		{"on time", document(gen(1, Active)), policy, "12h", "12h"},
		{"a little late: by the calendar", document(gen(1, Active)), policy, "13h12m", "12h"},
		{"late", document(gen(1, Active)), policy, "13h12m1ns", "13h13m1ns"},
		{"a month asleep", document(gen(1, Active)), policy, "720h", "720h1m"},
		{"early, by hand or in an emergency", document(gen(1, Active)), policy, "11h59m", "11h59m"},
		{"the first one", document(), policy, "1h", "1h1m"},
		{"no calendar", document(gen(1, Active)), manual, "12h", "12h"},
	} {
		if got := tt.doc.scheduled(tt.policy, at(tt.now)); !got.Equal(at(tt.want)) {
			t.Errorf("%s: %v, want %s", tt.name, got.Sub(t0), tt.want)
		}
	}
}

// A thousand turns, each a little late, do not drift.
func TestPeriodsDoNotDrift(t *testing.T) {
	policy := testPolicy()
	d := document(gen(1, Active))
	for n := 2; n < 1000; n++ {
		d.Last = n
		d.Generations = append(d.Generations[len(d.Generations)-1:], gen(n, Pending, func(g *Generation) { g.Published = d.Generations[len(d.Generations)-1].Activated }))
		a, _ := d.activation(policy)
		d, _ = d.activate(n, policy, event(eventActivated, n, nil, a.at.Add(7*time.Minute), ""))
	}
	if g, _ := d.Active(); !g.Scheduled.Equal(t0.Add(998 * policy.Period)) {
		t.Errorf("after 998 periods it is off by %v", g.Scheduled.Sub(t0.Add(998*policy.Period)))
	}
}

func TestDismissible(t *testing.T) {
	for _, tt := range []struct {
		name   string
		doc    Document
		policy Policy
		want   int
		now    string
		next   string
	}{
		{name: "all are wanted", doc: document(gen(1, Active), gen(2, Pending)), now: "1h"},
		{name: "an unwanted one stays until a wanted one is there", doc: document(gen(1, Active), gen(2, Pending, misfit)), now: "1h"},
		{name: "and until that is put down", doc: document(gen(1, Active), gen(2, Pending, misfit), unpublished(3)), now: "1h"},
		{name: "and until that is known, as the unwanted one may be needed before", doc: document(gen(1, Active), gen(2, Pending, misfit), gen(3, Pending, knownFrom("2h"))), now: "1h", next: "2h"},
		{name: "then it goes", doc: document(gen(1, Active), gen(2, Pending, misfit), gen(3, Pending, knownFrom("2h"))), now: "2h", want: 2},
		{name: "known at once: it goes", doc: document(gen(1, Active), gen(2, Pending, misfit), gen(3, Pending)), now: "0s", want: 2},
		{name: "of two the second goes", doc: document(gen(1, Active), gen(2, Pending, misfit), gen(3, Pending, misfit), gen(4, Pending, knownFrom("2h"))), now: "1h", want: 3, next: "2h"},
		{name: "an impaired one is nothing to wait with", doc: document(gen(1, Active), gen(2, Pending, misfit, lost), gen(3, Pending, knownFrom("2h"))), now: "1h", want: 2},
		{name: "a revoked one goes at once", doc: document(gen(1, Active), gen(2, Pending, impaired)), now: "0s", want: 2},
		{name: "a lost one may come back", doc: document(gen(1, Active), gen(2, Pending, lost)), now: "0s"},
		{name: "an impaired one is nothing to wait for", doc: document(gen(1, Active), gen(2, Pending, misfit), gen(3, Pending, lost)), now: "1h"},
		{name: "static, and what is wanted signs: nothing is to follow", doc: document(gen(1, Active, of(rsaA, ecX)), gen(2, Pending, of(rsaB, ecX))), policy: staticPolicy(rsaA, ecX), now: "0s", want: 2},
		{name: "static, and it does not sign yet", doc: document(gen(1, Active, of(rsaB, ecX)), gen(2, Pending, of(rsaB, ecY))), policy: staticPolicy(rsaA, ecX), now: "0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.policy.Token == "" {
				tt.policy = testPolicy()
			}
			var next time.Time
			g, ok := tt.doc.dismissible(tt.policy, func(t time.Time) bool {
				next = t
				return !at(tt.now).Before(t)
			})
			if tt.want != 0 && ok {
				next = time.Time{}
			}
			if ok != (tt.want > 0) || g.Number != tt.want || tt.want == 0 && tt.next != "" && !next.Equal(at(tt.next)) {
				t.Errorf("%v, generation %d, asked for %v; want %d, %s", ok, g.Number, next, tt.want, tt.next)
			}
		})
	}
}

func TestSinceAndUntil(t *testing.T) {
	manual, forever := testPolicy(), testPolicy()
	manual.Manual, forever.RetainUntilRevoked = true, true
	for _, tt := range []struct {
		name         string
		doc          Document
		number       int
		policy       Policy
		since, until time.Time
	}{
		{"pending, not published", document(gen(1, Active), unpublished(2)), 2, testPolicy(), t0, time.Time{}},
		{"pending", document(gen(1, Active), gen(2, Pending)), 2, testPolicy(), t0, at("12h")},
		{"pending, late", document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.Published = at("7h") })), 2, testPolicy(), at("7h"), at("13h")},
		{"pending, none active", document(gen(2, Pending)), 2, testPolicy(), t0, at("5m30s")},
		{"pending, by hand", document(gen(1, Active), gen(2, Pending)), 2, manual, t0, time.Time{}},
		{"active", document(gen(1, Active), gen(2, Pending)), 1, testPolicy(), t0, at("12h")},
		{"active, the pending one late", document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.Published = at("7h") })), 1, testPolicy(), t0, at("13h")},
		{"active alone", document(gen(1, Active)), 1, testPolicy(), t0, at("12h")},
		{"active, by hand", document(gen(1, Active), gen(2, Pending)), 1, manual, t0, time.Time{}},
		{"retired", document(gen(1, Retired), gen(2, Active)), 1, testPolicy(), t0, at("12h")},
		{"retired until revoked", document(gen(1, Retired), gen(2, Active)), 1, forever, t0, time.Time{}},
		{"retired, frozen", frozen("20h", gen(1, Retired), gen(2, Active)), 1, testPolicy(), t0, at("20h")},
		{"retired, named as previous", document(gen(1, Retired, of(rsaA)), gen(2, Active)), 1, staticPolicy(rsaB, ecX, rsaA), t0, time.Time{}},
		{"pending, frozen", frozen("20h", gen(1, Active), gen(2, Pending)), 2, testPolicy(), t0, at("20h")},
		{"pending, frozen for less", frozen("2h", gen(1, Active), gen(2, Pending)), 2, testPolicy(), t0, at("12h")},
		{"active, frozen", frozen("20h", gen(1, Active)), 1, testPolicy(), t0, at("20h")},
		{"active since later than scheduled", document(gen(1, Active, func(g *Generation) { g.Scheduled = at("-1m") })), 1, testPolicy(), t0, at("11h59m")},
		{"active, a key was revoked and nothing is pending", document(gen(1, Active, impaired)), 1, testPolicy(), t0, time.Time{}},
		{"active, removed", removed(gen(1, Active)), 1, testPolicy(), t0, time.Time{}},
		{"retired, the swap under way", document(gen(1, Retired, func(g *Generation) { g.Retired, g.RetainUntil = time.Time{}, time.Time{} }), gen(2, Active)), 1, testPolicy(), t0, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, _ := tt.doc.Find(tt.number)
			if since, until := tt.doc.Since(g), tt.doc.Until(g, tt.policy); !since.Equal(tt.since) || !until.Equal(tt.until) {
				t.Errorf("since %v until %v, want %v and %v", since, until, tt.since, tt.until)
			}
		})
	}
}
