package hsm

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// In these tests a share is written as its owner and its priority: a5.
func named(s string) Share { return Share{Owner: s[:1], Priority: int(s[1] - '0')} }

func TestLine(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  string // a share joins, or - : the next is served
		want string // in this order
	}{
		{"first come, first served", "a5 a5 - - -", "a5.1 a5.2 nobody"},
		{"owners in turns", "a5 a5 a5 b5 b5 - - - - -", "a5.1 b5.1 a5.2 b5.2 a5.3"},
		{"whoever comes late goes before those who had a turn", "a5 a5 a5 - b5 - -", "a5.1 b5.1 a5.2"},
		{"but not twice", "a5 a5 a5 - b5 - b5 - -", "a5.1 b5.1 a5.2 b5.2"},
		{"nobody saves up turns", "a5 a5 a5 a5 a5 b5 - - - - b5 b5 b5 - - -", "a5.1 b5.1 a5.2 a5.3 b5.2 a5.4 b5.3"},
		{"the higher goes first", "a4 b5 - -", "b5.1 a4.1"},
		{"and gets twice as much", "a4 a4 b5 b5 b5 b5 - - - - - -", "b5.1 a4.1 b5.2 b5.3 a4.2 b5.4"},
		{"one owner with two priorities is two", "a4 a5 - -", "a5.1 a4.1"},
		{"the lowest is served", "a0 b9 b9 - - -", "b9.1 a0.1 b9.2"},
	} {
		var l line
		var got []string
		joined := map[Share]uint64{}
		for op := range strings.FieldsSeq(c.ops) {
			if op != "-" {
				joined[named(op)]++
				l.join(&place{share: named(op), ticket: joined[named(op)]})
				continue
			}
			if p := l.next(); p != nil {
				got = append(got, p.share.Owner+string(rune('0'+p.share.Priority))+"."+string(rune('0'+p.ticket)))
			} else {
				got = append(got, "nobody")
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Whoever had a slot in an epoch that ended goes before those of its share that never had one.
func TestLineTakesTheAdmittedFirst(t *testing.T) {
	var l line
	for _, ticket := range []uint64{3, 1, 0, 2, 0} {
		l.join(&place{ticket: ticket, admitted: ticket == 0})
	}
	for _, want := range []uint64{0, 0, 1, 2, 3} {
		if p := l.next(); p == nil || p.ticket != want {
			t.Fatalf("got %+v, want ticket %d", p, want)
		}
	}
}

// While a share waits, each other of its priority or a lower one is served once at most, one that is k
// above it 2^k+1 times; somebody is served as long as somebody waits; each share first come, first
// served; and of those who are gone nothing is kept.
func TestLineIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l line
		var ticket uint64
		waiting := map[Share][]*place{}
		since := map[Share]map[Share]int{} // how often others were served since a share that waits was, or came
		share := rapid.Custom(func(t *rapid.T) Share {
			return Share{rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "owner"), rapid.SampledFrom([]int{0, 4, 5, 6}).Draw(t, "priority")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				s := share.Draw(t, "share")
				for range rapid.IntRange(1, 20).Draw(t, "calls") {
					ticket++
					p := &place{share: s, ticket: ticket}
					if len(waiting[s]) == 0 {
						since[s] = map[Share]int{}
					}
					waiting[s] = append(waiting[s], p)
					l.join(p)
				}
			},
			"leave": func(t *rapid.T) {
				s := share.Draw(t, "share")
				if len(waiting[s]) == 0 {
					return
				}
				i := rapid.IntRange(0, len(waiting[s])-1).Draw(t, "which")
				p := waiting[s][i]
				waiting[s] = slices.Delete(waiting[s], i, i+1)
				if !l.leave(p) || l.leave(p) {
					t.Fatal("it does not leave once")
				}
			},
			"next": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "slots") {
					p := l.next()
					if p == nil {
						for s, places := range waiting {
							if len(places) > 0 {
								t.Fatalf("nobody is served while %v waits", s)
							}
						}
						if len(l.shares) != 0 || len(l.order) != 0 {
							t.Fatal("shares are kept that nobody waits for")
						}
						return
					}
					if len(waiting[p.share]) == 0 || waiting[p.share][0] != p {
						t.Fatalf("%v is not served in order", p.share)
					}
					waiting[p.share] = waiting[p.share][1:]
					since[p.share] = map[Share]int{}
					for s, places := range waiting {
						if s == p.share || len(places) == 0 {
							continue
						}
						since[s][p.share]++
						most := 1
						if k := p.share.Priority - s.Priority; k > 0 {
							most = 1<<k + 1
						}
						if n := since[s][p.share]; n > most {
							t.Fatalf("%v is served %d times while %v waits, want %d at most", p.share, n, s, most)
						}
					}
				}
			},
		})
	})
}

// What is charged is the token's time, not the count of calls: whatever each costs, those who always want more
// are no further apart than by one call.
func TestLineChargesByCost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		costs := rapid.SliceOfN(rapid.Uint64Range(1, 5000), 2, 6).Draw(t, "costs")
		var l line
		took, most := make([]uint64, len(costs)), slices.Max(costs)
		for i, c := range costs {
			kind := new(recent)
			kind.observe(time.Duration(c) * time.Microsecond)
			l.join(&place{share: Share{string(rune('a' + i)), 5}, cost: cost{kind, kind}})
		}
		for range 2000 {
			p := l.next()
			took[p.share.Owner[0]-'a'] += p.cost.micros()
			l.join(p)
			if slices.Max(took)-slices.Min(took) > 2*most {
				t.Fatalf("costs %v: the token's time went as %v", costs, took)
			}
		}
	})
}

// Those who always want more get shares as their priorities tell.
func TestLineWeighs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		priorities := rapid.SliceOfN(rapid.IntRange(0, priorityMost), 1, 8).Draw(t, "priorities")
		var l line
		served, weights := make([]int, len(priorities)), 0
		for i, p := range priorities {
			weights += 1 << p
			l.join(&place{share: Share{string(rune('a' + i)), p}})
		}
		const rounds = 4
		for range rounds * weights {
			p := l.next()
			served[p.share.Owner[0]-'a']++
			l.join(p)
		}
		for i, p := range priorities {
			if want := rounds << p; served[i] < want-1 || served[i] > want+1 {
				t.Errorf("priorities %v: served %v, want %d of the share %d", priorities, served, want, i)
			}
		}
	})
}
