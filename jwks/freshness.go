package jwks

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// maxSpread is how many ages a page has at most: enough that verifiers part, few enough that
// thousands of pages with long ages cost little memory.
const maxSpread = 64

// freshness is what a page says in Cache-Control. It never changes.
type freshness struct {
	// ages are those between nine tenths of the max-age and all of it. An answer has one of them at
	// random, so that verifiers who came together do not come back together.
	ages []age
	// until is when the page stops being fresh, whatever its age. Zero: it has no such end.
	until time.Time
}

// age is a max-age, and the header with it.
type age struct {
	seconds int64
	header  string
}

// newFreshness is for a maxAge of one second or more.
func newFreshness(maxAge time.Duration, until time.Time) freshness {
	longest := int64(maxAge / time.Second)
	shortest := longest*9/10 + 1 // the first whole second beyond nine tenths
	count := min(longest-shortest+1, maxSpread)
	f := freshness{until: until.Round(0)} // by the wall clock, as rotation plans
	for i := range count {
		// From the longest down, evenly, so that the first is the max-age itself.
		seconds := longest - i*(longest-shortest)/max(count-1, 1)
		f.ages = append(f.ages, age{seconds, fresh(seconds)})
	}
	return f
}

// header is the Cache-Control of an answer given now.
func (f *freshness) header(now time.Time) string {
	a := f.ages[rand.N(len(f.ages))]
	if f.until.IsZero() {
		return a.header
	}
	switch left := int64(f.until.Sub(now) / time.Second); {
	case left < 1:
		return stale
	case left < a.seconds:
		return fresh(left)
	}
	return a.header
}

// fresh allows a cache to use the page for so many seconds and no longer.
//
// Rotation counts on nobody using a page beyond max-age: a key signs once every page
// without it has expired, and a revoked key is dead once every page with it has. So
// must-revalidate (RFC 9111 §5.2.2.2): a cache that cannot reach us answers with an
// error and not, as it otherwise may (§4.2.4), with what is no longer true. public
// (§5.2.2.9): a shared cache may keep it even if the fetch carried credentials.
// No s-maxage and no stale-while-revalidate: they would lengthen max-age for some.
func fresh(seconds int64) string {
	return fmt.Sprintf("public, max-age=%d, must-revalidate", seconds)
}

// stale has a cache ask each time (RFC 9111 §5.2.2.4): the page is about to be another one, or
// should be by now.
const stale = "public, no-cache, must-revalidate"
