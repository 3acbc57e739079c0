package metric_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"keysetd.example/internal/metric"
)

// Whatever takes nearly as long is told at the same time, never early, and never much later.
func TestSettled(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: metric.Grain, 800 * time.Microsecond: metric.Grain, metric.Grain: metric.Grain, metric.Grain + 1: 2 * metric.Grain, 35 * time.Millisecond: 40 * time.Millisecond, time.Second: 1280 * time.Millisecond,
	} {
		if got := metric.Settled(took); got != want {
			t.Errorf("metric.Settled(%v) = %v, want %v", took, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		took := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "took"))
		if at := metric.Settled(took); at < took || at > max(metric.Grain, 2*took) {
			t.Fatalf("metric.Settled(%v) = %v", took, at)
		}
	})
}

// What is observed is the same for all that is settled to the same.
func TestSettledObserver(t *testing.T) {
	h := prometheus.NewHistogram(metric.Seconds("x_seconds", "A test."))
	reg := prometheus.NewRegistry()
	reg.MustRegister(h)
	for i, took := range []float64{800e-6, 851e-6, 9.99e-3} {
		metric.SettledObserver{To: h}.Observe(took)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := families[0].GetMetric()[0].GetHistogram()
		if want := metric.Grain.Seconds() * float64(i+1); got.GetSampleSum() < want-1e-9 || got.GetSampleSum() > want+1e-9 {
			t.Errorf("after %v the sum is %v, want %v", took, got.GetSampleSum(), want)
		}
		for _, b := range got.GetBucket() {
			if b.GetUpperBound() < metric.Grain.Seconds() && b.GetCumulativeCount() > 0 {
				t.Errorf("bucket %v has %d", b.GetUpperBound(), b.GetCumulativeCount())
			}
		}
	}
}
