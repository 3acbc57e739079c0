package hsm

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// suspects are ways to sign and to decrypt that ended epochs and never worked. Some modules answer what they do not
// support with a general error, or crash: without this, one caller who asks for it again and again
// would keep the token down for all. They outlive epochs. What worked once is above suspicion: its
// failures are the token's, and it must sign again as soon as the token is back.
type suspects struct {
	mu sync.Mutex
	of map[way]*suspicion
}

type way struct {
	identity
	method
}

// way is m with k.
func (k *Key) way(m method) way { return way{k.to(m.usage()), m} }

type suspicion struct {
	worked bool
	ends   int    // epochs ended
	epoch  uint64 // the latest of them
	until  time.Time
}

const (
	// suspectAfter epochs a way is tried more rarely: as many as one request may end.
	suspectAfter = attempts
	suspectFirst = time.Second
	suspectMost  = time.Minute
)

// suspend is how long a way is left alone that ended so many epochs.
func suspend(ends int) time.Duration {
	if ends < suspectAfter {
		return 0
	}
	return min(suspectFirst<<min(ends-suspectAfter, 10), suspectMost)
}

func (s *suspects) get(w way) *suspicion {
	if s.of == nil {
		s.of = map[way]*suspicion{}
	}
	if s.of[w] == nil {
		s.of[w] = new(suspicion)
	}
	return s.of[w]
}

// worked clears it for good.
func (s *suspects) worked(w way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.get(w) = suspicion{worked: true}
}

// ended counts an epoch that ended while w was tried, however often it was tried in it.
func (s *suspects) ended(w way, epoch uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.get(w); !x.worked && (x.ends == 0 || x.epoch != epoch) {
		x.ends++
		x.epoch = epoch
		x.until = now.Add(suspend(x.ends))
	}
}

// check is an error while w is left alone.
func (s *suspects) check(w way, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.of[w]; x != nil && now.Before(x.until) {
		return fmt.Errorf("%w for this: to %s in this way with this key never worked and %d times ended in the loss of the token or of its worker; it is tried again in %v",
			ErrUnavailable, w.method.usage(), x.ends, x.until.Sub(now).Round(time.Millisecond))
	}
	return nil
}

// forget is for keys that are no more.
func (s *suspects) forget(ref Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.of {
		if w.names(ref) {
			delete(s.of, w)
		}
	}
}

// blame tells what the failure of a probe says about a way: something, if the epoch ends
// of it. If the worker died, any call under way may have been the reason.
func (e *epoch) blame(w way, err error) {
	victim := e.ctx.Err() != nil && err == context.Cause(e.ctx) && causeOf(err) != causeWorkerDied
	if !victim && judge(opOf(w.method), err) == endsEpoch {
		e.token.suspects.ended(w, e.beliefs.epoch, time.Now())
	}
}
