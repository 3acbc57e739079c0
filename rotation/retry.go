package rotation

import (
	"math/rand/v2"
	"time"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// failure is a step that failed and is to be tried again.
type failure struct {
	err error
	// wait is how long it was put off last, before jitter.
	wait time.Duration
	// at is when it may be tried again.
	at time.Time
}

// again returns the failure that follows f: 1 s later, then twice as late each time up to
// a minute, less up to half of it at random, so that what failed together does not come
// back together.
func (f failure) again(err error, now time.Time) failure {
	f.err = err
	f.wait = min(max(firstRetry, 2*f.wait), lastRetry)
	f.at = now.Add(f.wait - rand.N(f.wait/2))
	return f
}

// failures of one keyset, by what failed.
type failures map[Step]failure

// retryKey is what counts as the same step tried again. Each attempt to make a generation
// has a number of its own, and is the same step nevertheless.
func retryKey(s Step) Step {
	if s.Kind == StepGenerate {
		s.Generation = 0
	}
	s.Reason = ""
	return s
}

// first returns the first of steps that need not wait, and otherwise the earliest instant
// at which one of them may be tried.
func (f failures) first(steps []Step, now time.Time) (Step, bool, time.Time) {
	var wait time.Time
	for _, s := range steps {
		at := f[retryKey(s)].at
		if !now.Before(at) {
			return s, true, time.Time{}
		}
		if wait.IsZero() || at.Before(wait) {
			wait = at
		}
	}
	return Step{}, false, wait
}

// note remembers how a step ended.
func (f failures) note(s Step, err error, now time.Time) {
	if err == nil {
		delete(f, retryKey(s))
		return
	}
	f[retryKey(s)] = f[retryKey(s)].again(err, now)
}

// hurry lets everything be tried at once. How long it is put off if it fails once more
// stays as it was.
func (f failures) hurry() {
	for s, was := range f {
		was.at = time.Time{}
		f[s] = was
	}
}
