package metric_test

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/internal/metric"
)

func TestBucketsCoverTheRange(t *testing.T) {
	b := metric.Buckets()
	if b[0] != 50e-6 || b[len(b)-1] != 10 {
		t.Errorf("buckets run from %v to %v, want 50 µs to 10 s", b[0], b[len(b)-1])
	}
	if !slices.IsSorted(b) {
		t.Errorf("buckets %v are not in order", b)
	}
	b[0] = 0
	if metric.Buckets()[0] != 50e-6 {
		t.Error("a caller can change the shared buckets")
	}
}

func TestSecondsHasBothForms(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := prometheus.NewHistogram(metric.Seconds("x_seconds", "A test."))
	reg.MustRegister(h)
	h.Observe(0.001)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := families[0].GetMetric()[0].GetHistogram()
	if len(got.GetBucket()) != len(metric.Buckets()) {
		t.Errorf("%d classic buckets, want %d", len(got.GetBucket()), len(metric.Buckets()))
	}
	if got.Schema == nil {
		t.Error("there is no native histogram")
	}
}
