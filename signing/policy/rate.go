package policy

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// maxBuckets bounds what a rule for a group remembers of its members.
const maxBuckets = 4096

// rate is a limit of signatures for each uid: a token bucket, kept as a generic cell rate
// algorithm (ITU-T I.371, annex A), which needs one number for each.
type rate struct {
	interval time.Duration // between two signatures in the long run
	burst    int
	start    time.Time // the theoretical arrival times count from it, by the monotonic clock

	mu      sync.RWMutex // for the map; held to read while a bucket is used
	buckets map[uint32]*atomic.Int64
	rest    atomic.Int64 // of those for whom there is no room, together
}

func newRate(perSecond float64, burst int) *rate {
	return &rate{
		interval: time.Duration(math.Round(float64(time.Second) / perSecond)), burst: burst, start: time.Now(),
		buckets: make(map[uint32]*atomic.Int64),
	}
}

// reserve is Verdict.Reserve for a uid.
func (r *rate) reserve(uid uint32, n int, now time.Time) (retry time.Duration, ok bool) {
	if n > r.burst {
		return 0, false
	}
	at := now.Sub(r.start)
	r.mu.RLock()
	b := r.buckets[uid]
	if b != nil {
		defer r.mu.RUnlock()
		return r.take(b, n, at)
	}
	r.mu.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.take(r.bucket(uid, at), n, at)
}

// bucket returns that of the uid, which is made if there is room. A bucket that is full again
// is as good as none. The caller holds mu to write.
func (r *rate) bucket(uid uint32, at time.Duration) *atomic.Int64 {
	if b := r.buckets[uid]; b != nil {
		return b
	}
	if len(r.buckets) >= maxBuckets {
		for uid, b := range r.buckets {
			if b.Load() <= int64(at) {
				delete(r.buckets, uid)
			}
		}
	}
	if len(r.buckets) >= maxBuckets {
		return &r.rest
	}
	b := new(atomic.Int64)
	b.Store(int64(at))
	r.buckets[uid] = b
	return b
}

// take moves the theoretical arrival time on by n intervals, if it then lies no further ahead
// than a burst.
func (r *rate) take(b *atomic.Int64, n int, at time.Duration) (retry time.Duration, ok bool) {
	for {
		was := b.Load()
		next := max(was, int64(at)) + int64(n)*int64(r.interval)
		if early := next - int64(at) - int64(r.burst)*int64(r.interval); early > 0 {
			return time.Duration(early), false
		}
		if b.CompareAndSwap(was, next) {
			return 0, true
		}
	}
}
