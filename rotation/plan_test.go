package rotation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is t0 plus a duration as text.
func at(s string) time.Time {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return t0.Add(d)
}

func testPolicy() Policy {
	return Policy{
		Specs: []keyspec.Spec{keyspec.P256}, Token: "hsm", Usage: wire.Sign,
		Period: 12 * time.Hour, Lead: 6 * time.Hour, Retain: 12 * time.Hour,
		ClockSkew: 30 * time.Second, MaxAge: 5 * time.Minute, MaxTokenLifetime: time.Hour,
		MaxFreeze: 7 * 24 * time.Hour, ManualPerDay: 5, ManualBurst: 5,
	}
}

func gen(number int, state State, change ...func(*Generation)) Generation {
	g := Generation{Number: number, State: state, Keys: []Key{{Spec: keyspec.P256, Token: "hsm", ID: []byte{byte(number)}, KID: fmt.Sprintf("kid-%d", number)}}, Made: t0, Lifetime: time.Hour}
	switch state {
	case Pending:
		g.Published, g.UsableFrom = t0, at("5m30s")
	case Active:
		g.Published, g.UsableFrom, g.Activated, g.Scheduled = at("-6h"), at("-5h"), t0, t0
	case Retired:
		g.Published, g.UsableFrom, g.Activated, g.Retired, g.RetainUntil = at("-18h"), at("-17h"), at("-12h"), t0, at("12h")
	}
	for _, f := range change {
		f(&g)
	}
	return g
}

func document(gens ...Generation) Document {
	d := Document{Format: Format, Keyset: "default", Last: 9, Generations: gens, StaleUntil: at("5m30s"), StaleSince: t0, Served: testPolicy().freshness()}
	terms := testPolicy().farewell()
	d.Farewell = &terms
	if len(gens) == 0 {
		d.Last, d.StaleUntil, d.StaleSince = 0, time.Time{}, time.Time{}
	}
	return d
}

// up are tokens whose epoch began 1 h before t0.
func up(names ...string) map[string]time.Time {
	m := map[string]time.Time{}
	for _, name := range names {
		m[name] = at("-1h")
	}
	return m
}

// late is an attempt that was abandoned at t0.
func late(id string) Abandoned {
	return Abandoned{Attempt: Attempt{Token: "hsm", Spec: keyspec.P256, ID: []byte(id)}, Generation: 1, Begun: at("-2h"), Since: t0, Looked: t0}
}

func abandoned(d Document, a ...Abandoned) Document {
	d.Abandoned = a
	return d
}

// lost marks the first key of a generation.
func lost(g *Generation) { g.Keys[0].Lost = t0 }

// deep shares nothing with d.
func deep(d Document) (copied Document) {
	b, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(b, &copied)
	}
	if err != nil {
		panic(err)
	}
	return copied
}

func attempt(number int, kind IntentKind) Intent {
	return Intent{Kind: kind, Generation: number, At: t0, Objects: []Attempt{{Token: "hsm", Spec: keyspec.P256, ID: []byte{byte(number)}}}}
}

func TestPlan(t *testing.T) {
	onToken := func(name string) func(*Generation) { return func(g *Generation) { g.Keys[0].Token = name } }
	manual := func(p *Policy) { p.Manual = true }
	forever := func(p *Policy) { p.RetainUntilRevoked = true }
	for _, tt := range []struct {
		name   string
		doc    Document
		policy func(*Policy)
		obs    Observation
		now    time.Time
		want   []string // kind and number
		next   time.Time
	}{
		{name: "new keyset", doc: document(), now: t0, want: []string{"generate 1"}},
		{name: "new keyset, nothing served yet", doc: Document{Format: Format, Keyset: "default"}, now: t0, want: []string{"settle 0", "generate 1"}},
		{name: "first generation made, its page shown",
			doc: document(gen(1, Pending, func(g *Generation) { g.Published, g.UsableFrom = time.Time{}, time.Time{} })), now: t0, want: []string{"settle 1"}},
		{name: "first generation published: no lead, no body without it",
			doc: document(gen(1, Pending, func(g *Generation) { g.UsableFrom = t0 })), now: t0, want: []string{"activate 1"}},
		{name: "nothing active, but bodies without the pending one: not before they are stale",
			doc: document(gen(2, Pending)), now: at("5m29.999999999s"), next: at("5m30s")},
		{name: "and then at that very instant", doc: document(gen(2, Pending)), now: at("5m30s"), want: []string{"activate 2"}},
		{name: "by hand too", doc: document(gen(2, Pending)), policy: manual, now: at("5m30s"), want: []string{"activate 2"}},
		{name: "active alone", doc: document(gen(1, Active)), now: t0, want: []string{"generate 10"}},
		{name: "active alone long after its period stays active", doc: document(gen(1, Active)), now: at("1000h"), want: []string{"generate 10"}},
		{name: "period not over by a nanosecond", doc: document(gen(1, Active), gen(2, Pending)), now: at("11h59m59.999999999s"), next: at("12h")},
		{name: "period over", doc: document(gen(1, Active), gen(2, Pending)), now: at("12h"), want: []string{"activate 2"}},
		{name: "period over, lead not by a nanosecond",
			doc: document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.Published = at("10h") })), now: at("15h59m59.999999999s"), next: at("16h")},
		{name: "period and lead over",
			doc: document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.Published = at("10h") })), now: at("16h"), want: []string{"activate 2"}},
		{name: "period and lead over, not usable by a nanosecond",
			doc: document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.UsableFrom = at("20h") })), now: at("19h59m59.999999999s"), next: at("20h")},
		{name: "all over", doc: document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.UsableFrom = at("20h") })), now: at("20h"), want: []string{"activate 2"}},
		{name: "never by time when by hand", doc: document(gen(1, Active), gen(2, Pending)), policy: manual, now: at("1000h")},
		{name: "pending but not put down as published",
			doc: document(gen(1, Active), gen(2, Pending, func(g *Generation) { g.Published = time.Time{} })), now: at("1000h"), want: []string{"settle 2"}},
		{name: "retired not yet put down",
			doc: document(gen(1, Retired, func(g *Generation) { g.Retired, g.RetainUntil = time.Time{}, time.Time{} }), gen(2, Active), gen(3, Pending)),
			now: t0, want: []string{"settle 1"}, next: at("12h")},
		{name: "retain not over by a nanosecond", doc: document(gen(1, Retired), gen(2, Active), gen(3, Pending, func(g *Generation) { g.Published = at("11h") })),
			now: at("11h59m59.999999999s"), next: at("12h")},
		{name: "retain over", doc: document(gen(1, Retired), gen(2, Active), gen(3, Pending, func(g *Generation) { g.Published = at("11h") })),
			now: at("12h"), want: []string{"withdraw 1"}, next: at("17h")},
		{name: "retained until revoked", doc: document(gen(1, Retired), gen(2, Active), gen(3, Pending)), policy: forever, now: at("11h"), want: []string{"settle 1"}, next: at("12h")},
		{name: "retained until revoked no longer: from now on, and nothing goes before that is put down",
			doc: document(gen(1, Retired, func(g *Generation) { g.RetainUntil = time.Time{} }), gen(2, Active), gen(3, Pending)), now: at("11h"), want: []string{"settle 1"}, next: at("12h")},
		{name: "a month asleep", doc: document(gen(1, Retired), gen(2, Active), gen(3, Pending)), now: at("720h"), want: []string{"activate 3", "withdraw 1"}},
		{name: "an attempt left behind comes before the next",
			doc: func() Document {
				d := document(gen(1, Active))
				d.Intents = []Intent{attempt(2, Generate)}
				return d
			}(), now: t0, want: []string{"sweep 2"}},
		{name: "an attempt left behind on a token of the past does not block",
			doc: func() Document {
				d := document(gen(1, Active))
				d.Intents = []Intent{attempt(2, Generate)}
				d.Intents[0].Objects[0].Token = "old"
				return d
			}(), now: t0, want: []string{"generate 10"}},
		{name: "a destruction left behind goes on, and blocks nothing",
			doc: func() Document {
				d := document(gen(3, Active))
				d.Intents = []Intent{attempt(1, Destroy)}
				return d
			}(), now: t0, want: []string{"generate 10", "destroy 1"}},
		{name: "token down: nothing",
			doc: func() Document {
				d := document(gen(1, Retired), gen(2, Active), gen(3, Pending))
				d.Intents = []Intent{attempt(4, Generate), attempt(5, Destroy)}
				return d
			}(), obs: Observation{Up: map[string]time.Time{}}, now: at("720h")},
		{name: "token down: what it is not needed for is put down",
			doc: document(gen(1, Pending, func(g *Generation) { g.Published = time.Time{} })), obs: Observation{Up: map[string]time.Time{}}, now: t0, want: []string{"settle 1"}},
		{name: "only the old token is down", doc: document(gen(1, Retired, onToken("old")), gen(2, Active, onToken("old")), gen(3, Pending)),
			now: at("720h"), want: []string{"activate 3"}},
		{name: "only the new token is down", doc: document(gen(1, Retired), gen(2, Active), gen(3, Pending, onToken("new"))), now: at("720h"), want: []string{"withdraw 1"}},
		{name: "clock suspect: nothing but sweeping",
			doc: func() Document {
				d := document(gen(1, Retired), gen(2, Active), gen(3, Pending), gen(4, Pending, func(g *Generation) { g.Published = time.Time{} }))
				d.Intents = []Intent{attempt(5, Generate), attempt(6, Destroy)}
				return d
			}(), obs: Observation{Up: up("hsm"), ClockSuspect: true}, now: at("720h"), want: []string{"sweep 5"}},
		{name: "freshness changed", doc: document(gen(1, Active), gen(2, Pending)), policy: func(p *Policy) { p.MaxAge = time.Minute }, now: t0,
			want: []string{"settle 0"}, next: at("12h")},
		{name: "token came up: first what is on it",
			doc: document(gen(1, Retired), gen(2, Active), gen(3, Pending)), obs: Observation{Up: up("hsm"), Counted: map[string]bool{"other": true}},
			now: at("720h"), want: []string{"inventory 0 hsm"}},
		{name: "and that of the token of the past", doc: document(gen(1, Retired, onToken("old")), gen(2, Active)),
			obs: Observation{Up: up("hsm", "old")}, now: at("13h"), want: []string{"inventory 0 old", "generate 10"}},
		{name: "a new keyset's too", doc: document(), obs: Observation{Up: up("hsm"), Counted: map[string]bool{"other": true}}, now: t0, want: []string{"inventory 0 hsm"}},
		{name: "also while the clock is suspect", doc: document(gen(1, Active)), obs: Observation{Up: up("hsm"), Counted: map[string]bool{"other": true}, ClockSuspect: true},
			now: t0, want: []string{"inventory 0 hsm"}},
		{name: "active one has lost a key: the pending one as soon as it is usable, not a nanosecond earlier",
			doc: document(gen(1, Active, lost), gen(2, Pending)), now: at("5m29.999999999s"), next: at("5m30s")},
		{name: "and then", doc: document(gen(1, Active, lost), gen(2, Pending)), now: at("5m30s"), want: []string{"activate 2"}},
		{name: "and then by hand too", doc: document(gen(1, Active, lost), gen(2, Pending)), policy: manual, now: at("5m30s"), want: []string{"activate 2"}},
		{name: "active one has lost a key, none pending: nothing but the next", doc: document(gen(1, Active, lost)), now: at("1000h"), want: []string{"generate 10"}},
		{name: "active one has lost a key, token down: nothing", doc: document(gen(1, Active, lost), gen(2, Pending)), obs: Observation{Up: up("other")}, now: at("1000h")},
		{name: "pending one has lost a key: it never signs, another one is made", doc: document(gen(1, Active), gen(2, Pending, lost)), now: at("1000h"), want: []string{"generate 10"}},
		{name: "and that one signs", doc: document(gen(1, Active), gen(2, Pending, lost), gen(3, Pending)), now: at("12h"), want: []string{"activate 3"}},
		{name: "but not one after the other",
			doc: document(gen(1, Active), gen(2, Pending, lost), gen(3, Pending, lost), gen(4, Pending, lost)), now: at("1000h")},
		{name: "retired one has lost a key: it stays and goes in its time",
			doc: document(gen(1, Retired, lost), gen(2, Active), gen(3, Pending, func(g *Generation) { g.Published = at("11h") })), now: at("11h"), next: at("12h")},
		{name: "generation on a token that is not configured stays", doc: document(gen(1, Retired, onToken("gone")), gen(2, Active), gen(3, Pending)),
			now: at("11h"), next: at("12h")},
		{name: "also beyond its time, and what was to be destroyed there waits",
			doc: func() Document {
				d := document(gen(2, Retired, onToken("gone")), gen(3, Active), gen(4, Pending, func(g *Generation) { g.Published = at("1000h") }))
				d.Intents = []Intent{attempt(1, Destroy)}
				d.Intents[0].Objects[0].Token = "gone"
				return d
			}(), now: at("1000h"), next: at("1006h")},
		{name: "abandoned attempt does not block the next; it is looked for in a minute",
			doc: abandoned(document(gen(1, Active)), late("x")), now: t0, want: []string{"generate 10"}, next: at("1m")},
		{name: "and then", doc: abandoned(document(gen(1, Active), gen(2, Pending)), late("x")), now: at("1m"), want: []string{"purge 0 hsm"}, next: at("12h")},
		{name: "and when an epoch begins", doc: abandoned(document(gen(1, Active), gen(2, Pending)), late("x")),
			obs: Observation{Up: map[string]time.Time{"hsm": at("1s")}}, now: at("1s"), want: []string{"purge 0 hsm"}, next: at("12h")},
		{name: "not while the clock is suspect", doc: abandoned(document(gen(1, Active), gen(2, Pending)), late("x")),
			obs: Observation{Up: up("hsm"), ClockSuspect: true}, now: at("1h")},
		{name: "nor while its token is down", doc: abandoned(document(gen(1, Active), gen(2, Pending)), late("x")), obs: Observation{Up: up("other")}, now: at("1h")},
		{name: "no more is made while there is no room on record for what may come of it", doc: abandoned(document(gen(1, Active)), slices.Repeat([]Abandoned{late("x")}, maxAbandoned)...),
			now: t0, next: at("1m")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			policy := testPolicy()
			if tt.policy != nil {
				tt.policy(&policy)
			}
			if tt.obs.Up == nil {
				tt.obs.Up = up("hsm")
			}
			if tt.obs.Counted == nil {
				tt.obs.Counted = map[string]bool{"hsm": true}
			}
			steps, next := Plan(tt.doc, policy, tt.obs, tt.now)
			var got []string
			for _, s := range steps {
				got = append(got, strings.TrimSuffix(fmt.Sprintf("%s %d %s", s.Kind, s.Generation, s.Token), " "))
				if s.Reason == "" || s.String() == "" {
					t.Errorf("%v has no reason", s.Kind)
				}
			}
			if !slices.Equal(got, tt.want) || !next.Equal(tt.next) {
				t.Errorf("Plan gives %v, next %v;\nwant %v, next %v", got, next, tt.want, tt.next)
			}
		})
	}
}

func TestTransitionsLeaveTheirDocumentAlone(t *testing.T) {
	doc := document(gen(1, Retired), gen(2, Active), gen(3, Pending, func(g *Generation) { g.Published = time.Time{} }))
	doc.Intents = []Intent{attempt(4, Generate), attempt(5, Destroy)}
	doc.Abandoned = []Abandoned{late("x"), late("y")}
	doc.Entries = []Entry{{Algorithm: "RS384", State: Active, Published: t0}, {Algorithm: "PS256", State: Pending}, {Algorithm: "RS512", State: Retired}}
	doc.Revoked = []Revocation{{KID: "old", ID: []byte("old"), At: t0}}
	doc = deep(doc)
	want := deep(doc)
	doc.settle(testPolicy(), nil, t0)
	doc.begin(nil, t0)
	doc.made(4, nil, testPolicy(), t0)
	doc.abandoned(4, nil, t0)
	doc.purged(map[string]int{"x": 1, "y": 0}, t0, t0)
	doc.compare("hsm", newInventory("i", nil), t0)
	doc.activate(3, testPolicy(), Event{At: t0})
	doc.dismiss(3, t0)
	doc.withdraw(1, t0)
	doc.destroyed(5, doc.Intents[1].Objects, t0)
	doc.entries(testPolicy(), t0)
	doc.adopted(Pending, nil, testPolicy(), t0)
	doc.revoke(RevokeAct{All: true, AcceptUnpublished: true}, testPolicy(), true, t0)
	doc.remove(Act{}, testPolicy(), t0)
	doc.restore(t0)
	doc.acceptClock(Act{}, time.Hour, at("-1h"))
	forecast(doc, testPolicy(), Observation{}, t0)
	if !reflect.DeepEqual(doc, want) {
		t.Errorf("a transition changed the document it was given:\n%+v\nwas\n%+v", doc, want)
	}
}
