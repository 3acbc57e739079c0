package door

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"keysetd.example/signing/policy"
)

// seat is a connection of a test.
type seat struct {
	id    policy.Identity
	class class
	since time.Time
	busy  bool
}

func (s *seat) silentSince() (time.Time, bool) { return s.since, !s.busy }

// user and group are identities of a test.
func user(uid uint32) policy.Identity   { return policy.Identity{UID: uid} }
func group(name string) policy.Identity { return policy.Identity{Rule: name} }

func TestAdmission(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(1e9+second), 0) }
	small := [classes]quota{insider: {4, 2, 0}, service: {4, 3, 0}, member: {2, 2, 1}, stranger: {2, 1, 0}}
	people := []seat{{group("a"), member, at(2), false}, {group("a"), member, at(1), true}, {group("b"), member, at(1), true}, {group("b"), member, at(1), true}}
	full := []seat{{user(1), service, at(5), true}, {user(1), service, at(7), false}, {user(1), service, at(6), false}, {user(2), service, at(1), false}}
	for name, tt := range map[string]struct {
		open    []seat
		id      policy.Identity
		class   class
		entered bool
		victim  int // of open; -1 is nobody
	}{
		"an empty door":                      {nil, user(1), service, true, -1},
		"as many as a user may have":         {full[:3], user(1), service, false, -1},
		"the greediest gives way":            {full, user(3), service, true, 2},
		"to one who has fewer":               {full, user(2), service, true, 2},
		"not to itself":                      {[]seat{{user(1), service, at(1), false}, {user(1), service, at(1), false}, {user(2), service, at(1), false}, {user(2), service, at(1), false}}, user(2), service, false, -1},
		"not when all are at work":           {[]seat{{user(1), service, at(1), true}, {user(1), service, at(1), true}, {user(1), service, at(1), true}, {user(2), service, at(1), true}}, user(3), service, false, -1},
		"the next greediest, then":           {[]seat{{user(1), service, at(1), true}, {user(1), service, at(1), true}, {user(2), service, at(1), false}, {user(2), service, at(1), true}}, user(3), service, true, 2},
		"a stranger has few":                 {[]seat{{user(5), stranger, at(1), false}}, user(5), stranger, false, -1},
		"strangers have theirs":              {full, user(5), stranger, true, -1},
		"of equals, the longest silent":      {[]seat{{user(5), stranger, at(2), false}, {user(6), stranger, at(1), false}}, user(7), stranger, true, 1},
		"nor others theirs":                  {[]seat{{user(5), stranger, at(1), false}, {user(6), stranger, at(1), false}}, user(7), service, true, -1},
		"root":                               {full, user(0), insider, true, -1},
		"root gives way to root":             {[]seat{{user(0), insider, at(3), false}, {user(0), insider, at(2), false}}, user(0), insider, true, 1},
		"root at work":                       {[]seat{{user(0), insider, at(3), true}, {user(0), insider, at(2), true}}, user(0), insider, false, -1},
		"the daemon's user beside root's":    {[]seat{{user(0), insider, at(3), true}, {user(0), insider, at(2), true}}, user(9), insider, true, -1},
		"what it had as somebody else too":   {[]seat{{user(1), service, at(1), false}, {user(1), service, at(1), false}}, user(1), stranger, false, -1},
		"those of a group make room for it":  {people, group("a"), member, true, 0},
		"unless all of them are at work":     {people[1:], group("b"), member, false, -1},
		"what is set aside is nobody else's": {people, group("c"), member, true, -1},
		"nor is that of services groups'":    {people, user(3), service, true, -1},
	} {
		a := newAdmission[*seat](small)
		open := slices.Clone(tt.open)
		for i := range open {
			a.add(&open[i], open[i].id, open[i].class)
		}
		entered, victim, evicted := a.enter(&seat{id: tt.id, class: tt.class}, tt.id, tt.class)
		if entered != tt.entered || evicted != (tt.victim >= 0) || evicted && victim != &open[tt.victim] {
			t.Errorf("%s: %v %v %v", name, entered, victim, evicted)
		}
	}
}

// Whoever comes and goes: there are never more than the bounds; one with fewer than the
// greediest of its class gets in while that one has an idle connection; who is named by the configuration has
// what is set aside for it, whatever all others do; root always gets in, unless all of its own are at work.
func TestAdmissionHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := [classes]quota{insider: {6, 3, 0}, service: {7, 4, 2}, member: {3, 3, 1}, stranger: {4, 2, 0}}
		a := newAdmission[*seat](q)
		var open []*seat
		now := int64(1e9)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now++
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "who leaves")
					a.leave(open[i], open[i].id, open[i].class)
					a.leave(open[i], open[i].id, open[i].class)
					open = slices.Delete(open, i, i+1)
				}
				continue
			case 1:
				if len(open) > 0 {
					s := rapid.SampledFrom(open).Draw(t, "who works")
					s.busy, s.since = !s.busy, time.Unix(now, 0)
				}
				continue
			}
			n := rapid.Uint32Range(0, 15).Draw(t, "who")
			id, c := user(n), class(min(n/2, 3)) // 0, 1: insiders; 2, 3: services; 4, 5: groups
			switch {
			case c == member:
				id = group(string(rune('a' + n)))
			case n >= 11:
				c = service
			}
			s := &seat{id: id, class: c, since: time.Unix(now, 0)}
			has := map[policy.Identity]int{}
			idle := map[policy.Identity]bool{}
			most := 0
			for _, o := range open {
				if o.class == s.class {
					has[o.id]++
					idle[o.id] = idle[o.id] || !o.busy
					most = max(most, has[o.id])
				}
			}
			greediestIdle := false
			for id, n := range has {
				greediestIdle = greediestIdle || n == most && idle[id]
			}
			entered, victim, evicted := a.enter(s, id, s.class)
			switch {
			case !entered && has[id] < q[c].aside:
				t.Fatalf("%+v has %d, and did not get in where %d are set aside", id, has[id], q[c].aside)
			case !entered && has[id] < most && greediestIdle && has[id] < q[c].each:
				t.Fatalf("%+v has %d, the greediest %d, and did not get in", id, has[id], most)
			case !entered && (c == insider || c == member && has[id] == q[c].each) && (has[id] < q[c].each || idle[id]):
				t.Fatalf("%+v with %d did not get in", id, has[id])
			case evicted && (victim.busy || victim.class != s.class || victim.id != id && has[victim.id] <= has[id] || victim.id != id && has[victim.id] <= q[c].aside):
				t.Fatalf("%+v had to go for %+v", victim, s)
			}
			if evicted {
				open = slices.DeleteFunc(open, func(o *seat) bool { return o == victim })
			}
			if entered {
				open = append(open, s)
			}
			of, all := map[policy.Identity]int{}, [classes]int{}
			for _, o := range open {
				if of[o.id]++; of[o.id] > q[o.class].aside {
					all[o.class]++
				}
				if of[o.id] > q[o.class].each || all[o.class] > q[o.class].all {
					t.Fatalf("too many: %v %v", of, all)
				}
			}
			if all != a.total {
				t.Fatalf("counted %v, open %v", a.total, all)
			}
		}
	})
}

func TestQuotas(t *testing.T) {
	q := quotas(128)
	if all := q[insider].all + q[service].all + q[member].all + q[stranger].all; all != maxConnections {
		t.Errorf("%d in all", all)
	}
	if q[insider].all < 2*q[insider].each {
		t.Error("an insider may find the other in its place")
	}
}

// Who has as many users as subordinate uids, all at work and known by the rule of one group, takes nothing from a
// user with a rule of its own, nor from another group.
func TestManyUsersOfAGroup(t *testing.T) {
	a := newAdmission[*seat](quotas(128))
	enter := func(id policy.Identity, c class) bool {
		entered, _, _ := a.enter(&seat{id: id, class: c, busy: true}, id, c)
		return entered
	}
	for range 6 * 128 {
		enter(group("people"), member)
		enter(group("others"), member)
		for uid := range uint32(6) {
			enter(user(7000+uid), service)
		}
	}
	if got := a.of(group("people")); got != 128 {
		t.Errorf("a group has %d", got)
	}
	for range aside {
		if !enter(user(4712), service) || !enter(group("third"), member) {
			t.Fatal("there is no place for who has none")
		}
	}
}
