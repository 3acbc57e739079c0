package door

import (
	"sync"
	"time"

	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// activity is what a connection does: whether requests are in flight, and when the last one was.
type activity struct {
	mu       sync.Mutex
	requests int
	since    time.Time
}

// begin counts a request in, until the function that it returns is called.
func (a *activity) begin() (end func()) {
	a.count(1)
	return sync.OnceFunc(func() { a.count(-1) })
}

func (a *activity) count(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests += n
	a.since = time.Now()
}

// silentSince implements guest.
func (a *activity) silentSince() (since time.Time, idle bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.since, a.requests == 0
}

// entrance is where connections are let in by admission.
type entrance struct {
	identify func(policy.Caller) (policy.Identity, bool)
	own      uint32 // the daemon's uid
	metrics  *Metrics

	mu        sync.Mutex
	admission *admission[*conn]
}

// enter counts c in until it is closed, or reports that there is no place for it. It is judged
// by the grants of now, which a reload may change: the next connection is judged by those.
func (e *entrance) enter(c *conn) bool {
	id, class := e.place(c.caller)
	c.release = sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.admission.leave(c, id, class)
	})
	e.mu.Lock()
	entered, victim, evicted := e.admission.enter(c, id, class)
	e.mu.Unlock()
	if evicted {
		e.metrics.refused.WithLabelValues(displaced).Inc()
		victim.Close()
	}
	if !entered {
		e.metrics.refused.WithLabelValues(tooMany).Inc()
	}
	return entered
}

// place tells as whom the caller is counted, and in which class.
func (e *entrance) place(caller policy.Caller) (policy.Identity, class) {
	id, known := e.identify(caller)
	switch {
	case caller.UID == 0 || caller.UID == e.own:
		return policy.Identity{UID: caller.UID}, insider
	case !known:
		return policy.Identity{UID: caller.UID}, stranger
	case id.Alone():
		return id, service
	}
	return id, member
}

// identity is as whom the caller is counted; a stranger as the user that it is.
func identity(s *signing.Service, caller policy.Caller) policy.Identity {
	id, known := s.Identity(caller)
	if !known {
		return policy.Identity{UID: caller.UID}
	}
	return id
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
