// Package metric holds what all of keysetd's histograms have in common, so that a
// request's time and its part inside the token can be laid over each other.
package metric

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// From a P-256 signature in a local token (a tenth of a millisecond) to the longest a
// caller waits for an outage to pass.
var buckets = []float64{
	50e-6, 100e-6, 150e-6, 250e-6, 500e-6,
	1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3,
	1, 2.5, 5, 10,
}

// Buckets returns the classic upper bounds, in seconds, from 50 µs to 10 s.
func Buckets() []float64 { return slices.Clone(buckets) }

// Seconds returns the options of a histogram of durations in seconds: classic buckets
// for every scraper, and a native histogram for those that ask for it. Its name ends
// in _seconds.
func Seconds(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name:    name,
		Help:    help,
		Buckets: Buckets(),

		// Each bucket of the native form is at most a tenth wider than the one before.
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}
