package policy

import (
	"math"
	"sync/atomic"
	"time"
)

// How many decryptions a rule gives that says nothing of a rate. To find out something by asking
// for decryptions takes many of them.
const (
	usualDecryptions     = 20 // a second
	usualDecryptionBurst = 40
)

// rate is a rule's limit of signatures and decryptions: a token bucket, kept as a generic cell rate algorithm
// (ITU-T I.371, annex A), which needs one number. It is the rule's and not each caller's: who
// has subordinate uids (subuid(5)) would have it once for each of them.
type rate struct {
	interval time.Duration // between two signatures in the long run
	burst    int
	start    time.Time    // the theoretical arrival time counts from it, by the monotonic clock
	arrival  atomic.Int64 // the theoretical arrival time of the next signature
}

func newRate(perSecond float64, burst int) *rate {
	r := &rate{interval: time.Duration(math.Round(float64(time.Second) / perSecond)), burst: burst, start: time.Now()}
	r.arrival.Store(math.MinInt64)
	return r
}

// reserve is Verdict.Reserve. It moves the theoretical arrival time on by n intervals, if it
// then lies no further ahead than a burst, or than n where that is more: a request that cannot be taken apart
// is not refused for ever, and in the long run the rate holds.
func (r *rate) reserve(n int, now time.Time) (retry time.Duration, ok bool) {
	at := int64(now.Sub(r.start))
	for {
		was := r.arrival.Load()
		next := max(was, at) + int64(n)*int64(r.interval)
		if early := next - at - int64(max(r.burst, n))*int64(r.interval); early > 0 {
			return time.Duration(early), false
		}
		if r.arrival.CompareAndSwap(was, next) {
			return 0, true
		}
	}
}
