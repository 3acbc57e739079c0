package rotation

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// clock is the wall clock alone, as documents have it.
func clock() time.Time { return time.Now().Round(0).UTC() }

// sinceBoot is how long the machine has run, the time it was asleep included: a clock that
// nobody sets (CLOCK_BOOTTIME, clock_gettime(2)).
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Duration(time.Now().UnixNano()) // no such clock: nothing is noticed
	}
	return time.Duration(t.Nano())
}

// leastSkew is the smallest step of the wall clock that counts as one: what is below may be
// the time between looking at two clocks.
const leastSkew = time.Second

// clockWatch notices when the wall clock is set (invariant 11): it then goes another way than
// the clock that nobody sets.
type clockWatch struct {
	elapsed func() time.Duration

	mu    sync.Mutex
	wall  time.Time     // when both were looked at last and agreed
	since time.Duration // the other clock then
	first time.Duration // the step as it was noticed first; 0 while they agree
}

func newClockWatch(elapsed func() time.Duration) *clockWatch {
	w := &clockWatch{elapsed: elapsed}
	w.accept()
	return w
}

// accept takes the wall clock as right.
func (w *clockWatch) accept() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wall, w.since, w.first = clock(), w.elapsed(), 0
}

// stepped returns by how much the wall clock was set since it was accepted, if by more than
// skew; else 0. Smaller steps are followed, or a thousand of them would add up to one. It reads
// both clocks itself, at one instant: whoever waited since he read one of them would see a step.
func (w *clockWatch) stepped(skew time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, elapsed := clock(), w.elapsed()
	step := now.Sub(w.wall) - (elapsed - w.since)
	if step.Abs() > max(skew, leastSkew) {
		w.first = cmp.Or(w.first, step)
		return step
	}
	w.wall, w.since, w.first = now, elapsed, 0
	return 0
}

// noticed is the step as it was when it was noticed: a clock that is brought back slowly makes
// another one each second, and that is not worth telling.
func (w *clockWatch) noticed() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}
