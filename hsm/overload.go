package hsm

import (
	"fmt"
	"sync/atomic"
	"time"
)

// OverloadedError is ErrOverloaded, with a time to ask again.
type OverloadedError struct {
	Token string // its name
	Queue int    // how many calls wait already
	// RetryAfter is when the queue may have been worked off: an estimate between 50 ms and 5 s.
	RetryAfter time.Duration
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf("token %s: %v: %d calls wait already; ask again in %v", e.Token, ErrOverloaded, e.Queue, e.RetryAfter.Round(time.Millisecond))
}

// Unwrap returns ErrOverloaded.
func (e *OverloadedError) Unwrap() error { return ErrOverloaded }

const retryLeast, retryMost = 50 * time.Millisecond, 5 * time.Second

// retryAfter estimates how long a token needs for a queue, from how long the module lately took
// for one signature or decryption (0: not known). While the token is down nobody knows; it is not asked for
// more often than it is tried to be brought back.
func retryAfter(queue, sessions int, each time.Duration, up bool) time.Duration {
	least := retryLeast
	if !up {
		least = backoffMost
	}
	d := float64(queue) * float64(each) / float64(max(sessions, 1))
	return time.Duration(min(max(d, float64(least)), float64(retryMost)))
}

// recent is a moving mean of durations. Of two updates at once one may be lost, which a mean survives.
type recent struct{ mean atomic.Int64 }

// recentWeight: a sixteenth of the mean is the latest.
const recentWeight = 16

func (r *recent) observe(d time.Duration) {
	if old := r.mean.Load(); old == 0 {
		r.mean.Store(int64(d))
	} else {
		r.mean.Store(old + (int64(d)-old)/recentWeight)
	}
}

func (r *recent) get() time.Duration { return time.Duration(r.mean.Load()) }
