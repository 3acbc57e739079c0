package hsm_test

import (
	"context"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
)

// TestWorkerMetrics: the worker tells of its own process, which is not the daemon's.
func TestWorkerMetrics(t *testing.T) {
	token, err := hsm.Start(hsmtest.SoftHSM(t).Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close(context.Background()) })
	if err := token.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	families, err := token.WorkerMetrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, f := range families {
		if g := f.GetMetric()[0].GetGauge(); g != nil {
			seen[f.GetName()] = g.GetValue()
		}
	}
	if seen["go_goroutines"] < 1 || seen["process_resident_memory_bytes"] < 1<<20 {
		t.Errorf("the worker says %v", seen)
	}
}
