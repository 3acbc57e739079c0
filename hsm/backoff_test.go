package hsm

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	for failures, want := range []time.Duration{50, 50, 100, 200, 400, 800, 1000, 1000} {
		if got := backoff(failures, 0); got != want*time.Millisecond {
			t.Errorf("after %d failures %v, want %v ms", failures, got, int(want))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, j := rapid.IntMin(0).Draw(t, "failures"), rapid.Float64Range(0, 0.999).Draw(t, "jitter")
		if d := backoff(n, j); d < backoffFirst/2 || d > backoffMost || d < backoff(n, 0)/2 {
			t.Fatalf("backoff(%d, %v) = %v", n, j, d)
		}
	})
}
