package hsm

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The room never holds more than its limit beside those admitted before, refuses nobody who has
// at least two fewer in it than another, and sends only the newest away of whoever has most.
func TestRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner := rapid.SampledFrom([]string{"a", "b", "c"})
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		var r room
		inside := map[Share][]*place{}
		var admitted, gone []*place
		count := func() (n int) {
			for _, places := range inside {
				n += len(places)
			}
			return n
		}
		most := func() (n int) {
			for _, places := range inside {
				n = max(n, len(places))
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if r.size != count()+len(admitted) || len(r.of) > count() {
					t.Fatalf("%d calls of %d shares are counted, %d and %d there are", r.size, len(r.of), count(), len(admitted))
				}
				if count() > limit {
					t.Fatalf("%d calls in a room for %d", count(), limit)
				}
			},
			"enter": func(t *rapid.T) {
				p := &place{share: Share{Owner: owner.Draw(t, "owner")}}
				full, before := r.size >= limit, most()
				mine := len(inside[p.share])
				out, ok := r.enter(p, limit)
				if ok != (!full || before >= mine+2) || (out != nil) != (full && ok) {
					t.Fatalf("full: %v, the newcomer has %d, the largest %d: entered %v, sent away %v", full, mine, before, ok, out)
				}
				if out != nil {
					theirs := inside[out.share]
					if len(theirs) != before || theirs[len(theirs)-1] != out {
						t.Fatalf("not the newest of the largest is sent away: %v", out)
					}
					inside[out.share] = theirs[:len(theirs)-1]
					gone = append(gone, out)
				}
				if ok {
					inside[p.share] = append(inside[p.share], p)
				}
			},
			"enter again": func(t *rapid.T) {
				p := &place{share: Share{Owner: "a"}, admitted: true}
				if out, ok := r.enter(p, limit); out != nil || !ok {
					t.Fatalf("admitted: %v, for which %v has to go", ok, out)
				}
				admitted = append(admitted, p)
			},
			"leave": func(t *rapid.T) {
				s := Share{Owner: owner.Draw(t, "owner")}
				if places := inside[s]; len(places) > 0 {
					i := rapid.IntRange(0, len(places)-1).Draw(t, "which")
					r.leave(places[i])
					inside[s] = slices.Delete(places, i, i+1)
				}
			},
			"leave admitted or sent away": func(t *rapid.T) {
				for _, p := range slices.Concat(admitted, gone) {
					r.leave(p)
				}
				admitted, gone = nil, nil
			},
		})
	})
}
