package rotation

import (
	"testing"
	"time"
)

// Five at once, and then one each 4 h 48 min.
func TestManualLimit(t *testing.T) {
	d, now := document(), t0
	take := func(now time.Time) (time.Time, bool) {
		allowance, next, ok := d.manual(testPolicy(), now)
		d.Allowance = allowance
		return next, ok
	}
	for i := range 5 {
		if next, ok := take(now); !ok || !next.IsZero() {
			t.Fatalf("number %d: %v, %v", i+1, ok, next)
		}
		now = now.Add(time.Second)
	}
	for range 2 { // asking takes nothing
		if next, ok := take(now); ok || !next.Equal(at("4h48m")) {
			t.Errorf("number 6: %v, next %v", ok, next)
		}
	}
	if next, ok := take(at("4h47m59.999999999s")); ok || !next.Equal(at("4h48m")) {
		t.Errorf("a nanosecond early: %v, next %v", ok, next)
	}
	if _, ok := take(at("4h48m")); !ok {
		t.Error("not at the time it said itself")
	}
	if next, ok := take(at("4h48m")); ok || !next.Equal(at("9h36m")) {
		t.Errorf("number 7: %v, next %v", ok, next)
	}
	// A day of rest fills it, a year does not fill it further.
	now = at("10000h")
	for i := range 6 {
		if _, ok := take(now); ok != (i < 5) {
			t.Errorf("number %d after a year: %v", i+1, ok)
		}
	}
	// However they are spread, no more than 10 in a day.
	n := 0
	d = document()
	for m := range 24 * 60 {
		if _, ok := take(t0.Add(time.Duration(m) * time.Minute)); ok {
			n++
		}
	}
	if n != 9 {
		t.Errorf("%d in a day", n)
	}
}
