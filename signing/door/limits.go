package door

import (
	"sync"
	"time"
)

// uids bounds how many connections each user has open, so that one user's do not take the
// place of everybody's.
type uids struct {
	most    int
	metrics *Metrics

	mu   sync.Mutex
	open map[uint32]int // never 0
}

// enter counts c in until it is closed, or reports that its user has too many.
func (u *uids) enter(c *conn) bool {
	uid := c.caller.UID
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[uid] >= u.most {
		u.metrics.refused.WithLabelValues(tooMany).Inc()
		return false
	}
	u.open[uid]++
	before := c.release
	c.release = sync.OnceFunc(func() {
		before()
		u.leave(uid)
	})
	return true
}

func (u *uids) leave(uid uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[uid]--; u.open[uid] == 0 {
		delete(u.open, uid)
	}
}

// A connection over gRPC may have this many requests that it does not wait for before it is
// closed, and this many more each second: a caller whose deadlines are short abandons some,
// one that opens and resets streams without end (CVE-2023-44487) abandons all.
const (
	maxAbandoned     = 1000
	abandonedASecond = 100
)

// streams counts the requests of one gRPC connection that were begun and not answered.
type streams struct {
	mu         sync.Mutex
	unanswered float64 // begun, less answered, less what time has forgiven
	at         time.Time
	over       bool
}

// begin counts a request, and reports whether the connection may go on; first, whether it is
// told so for the first time.
func (s *streams) begin(now time.Time) (ok, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() {
		forgiven := now.Sub(s.at).Seconds() * abandonedASecond
		s.unanswered = max(s.unanswered-forgiven, 0)
	}
	s.at = now
	s.unanswered++
	if s.over || s.unanswered <= maxAbandoned+maxStreams {
		return !s.over, false
	}
	s.over = true
	return false, true
}

// answered takes a request back out: its reply went to somebody who waited.
func (s *streams) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unanswered = max(s.unanswered-1, 0)
}
