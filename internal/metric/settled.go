package metric

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Grain is the least time in which it is told how a decryption ended.
const Grain = 10 * time.Millisecond

// Settled is when something is told that took so long, if how long must not be told: after Grain, or
// its next doubling.
func Settled(took time.Duration) time.Duration {
	at := Grain
	for at < took {
		at *= 2
	}
	return at
}

// SettledObserver observes durations in seconds as Settled has them. Sum and buckets then tell whoever reads
// them between two decryptions no more than the reply's time does.
type SettledObserver struct{ To prometheus.Observer }

// Observe implements prometheus.Observer.
func (o SettledObserver) Observe(seconds float64) {
	o.To.Observe(Settled(time.Duration(seconds * float64(time.Second))).Seconds())
}
