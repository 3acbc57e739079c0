package door

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// seat is a connection of a test.
type seat struct {
	uid   uint32
	class class
	since time.Time
	busy  bool
}

func (s *seat) silentSince() (time.Time, bool) { return s.since, !s.busy }

func TestAdmission(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(1e9+second), 0) }
	small := [classes]quota{insider: {4, 2}, known: {4, 3}, stranger: {2, 1}}
	full := []seat{{1, known, at(5), true}, {1, known, at(7), false}, {1, known, at(6), false}, {2, known, at(1), false}}
	for name, tt := range map[string]struct {
		open    []seat
		uid     uint32
		class   class
		entered bool
		victim  int // of open; -1 is nobody
	}{
		"an empty door":                    {nil, 1, known, true, -1},
		"as many as a user may have":       {full[:3], 1, known, false, -1},
		"the greediest gives way":          {full, 3, known, true, 2},
		"to one who has fewer":             {full, 2, known, true, 2},
		"not to itself":                    {[]seat{{1, known, at(1), false}, {1, known, at(1), false}, {2, known, at(1), false}, {2, known, at(1), false}}, 2, known, false, -1},
		"not when all are at work":         {[]seat{{1, known, at(1), true}, {1, known, at(1), true}, {1, known, at(1), true}, {2, known, at(1), true}}, 3, known, false, -1},
		"the next greediest, then":         {[]seat{{1, known, at(1), true}, {1, known, at(1), true}, {2, known, at(1), false}, {2, known, at(1), true}}, 3, known, true, 2},
		"a stranger has few":               {[]seat{{5, stranger, at(1), false}}, 5, stranger, false, -1},
		"strangers have theirs":            {full, 5, stranger, true, -1},
		"of equals, the longest silent":    {[]seat{{5, stranger, at(2), false}, {6, stranger, at(1), false}}, 7, stranger, true, 1},
		"nor others theirs":                {[]seat{{5, stranger, at(1), false}, {6, stranger, at(1), false}}, 7, known, true, -1},
		"root":                             {full, 0, insider, true, -1},
		"root gives way to root":           {[]seat{{0, insider, at(3), false}, {0, insider, at(2), false}}, 0, insider, true, 1},
		"root at work":                     {[]seat{{0, insider, at(3), true}, {0, insider, at(2), true}}, 0, insider, false, -1},
		"the daemon's user beside root's":  {[]seat{{0, insider, at(3), true}, {0, insider, at(2), true}}, 9, insider, true, -1},
		"what it had as somebody else too": {[]seat{{1, known, at(1), false}, {1, known, at(1), false}}, 1, stranger, false, -1},
	} {
		a := newAdmission[*seat](small)
		open := slices.Clone(tt.open)
		for i := range open {
			a.add(&open[i], open[i].uid, open[i].class)
		}
		entered, victim, evicted := a.enter(&seat{uid: tt.uid, class: tt.class}, tt.uid, tt.class)
		if entered != tt.entered || evicted != (tt.victim >= 0) || evicted && victim != &open[tt.victim] {
			t.Errorf("%s: %v %v %v", name, entered, victim, evicted)
		}
	}
}

// Whoever comes and goes: there are never more than the bounds; one with fewer than the
// greediest of its class gets in while that one has an idle connection; root always does, unless all of
// its own are at work.
func TestAdmissionHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := [classes]quota{insider: {6, 3}, known: {7, 3}, stranger: {4, 2}}
		a := newAdmission[*seat](q)
		var open []*seat
		now := int64(1e9)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now++
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "who leaves")
					a.leave(open[i], open[i].uid, open[i].class)
					a.leave(open[i], open[i].uid, open[i].class)
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
			uid := rapid.Uint32Range(0, 12).Draw(t, "uid")
			s := &seat{uid: uid, class: class(min(uid/2, 2)), since: time.Unix(now, 0)} // 0, 1: insiders; 2, 3: known
			if uid >= 8 {
				s.class = known
			}
			has := map[uint32]int{}
			idle := map[uint32]bool{}
			most := 0
			for _, o := range open {
				if o.class == s.class {
					has[o.uid]++
					idle[o.uid] = idle[o.uid] || !o.busy
					most = max(most, has[o.uid])
				}
			}
			greediestIdle := false
			for uid, n := range has {
				greediestIdle = greediestIdle || n == most && idle[uid]
			}
			entered, victim, evicted := a.enter(s, uid, s.class)
			switch {
			case !entered && has[uid] < most && greediestIdle && has[uid] < q[s.class].uid:
				t.Fatalf("uid %d has %d, the greediest %d, and did not get in", uid, has[uid], most)
			case !entered && s.class == insider && (has[uid] < q[insider].uid || idle[uid]):
				t.Fatalf("insider %d with %d did not get in", uid, has[uid])
			case evicted && (victim.busy || victim.class != s.class || victim.uid != uid && has[victim.uid] <= has[uid]):
				t.Fatalf("%+v had to go for %+v", victim, s)
			}
			if evicted {
				open = slices.DeleteFunc(open, func(o *seat) bool { return o == victim })
			}
			if entered {
				open = append(open, s)
			}
			of, all := map[uint32]int{}, [classes]int{}
			for _, o := range open {
				of[o.uid]++
				all[o.class]++
				if of[o.uid] > q[o.class].uid || all[o.class] > q[o.class].all {
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
	if all := q[insider].all + q[known].all + q[stranger].all; all != maxConnections {
		t.Errorf("%d in all", all)
	}
	if q[insider].all < 2*q[insider].uid {
		t.Error("an insider may find the other in its place")
	}
}
