package signing

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever takes nearly as long is told at the same time, never early, and never much later.
func TestSettled(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: grain, 800 * time.Microsecond: grain, grain: grain, grain + 1: 2 * grain, 35 * time.Millisecond: 40 * time.Millisecond, time.Second: 1280 * time.Millisecond,
	} {
		if got := settled(took); got != want {
			t.Errorf("settled(%v) = %v, want %v", took, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		took := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "took"))
		if at := settled(took); at < took || at > max(grain, 2*took) {
			t.Fatalf("settled(%v) = %v", took, at)
		}
	})
}

func TestSettleWaitsForItsTimeOrTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, took := range []time.Duration{time.Microsecond, 7 * time.Millisecond} {
			began := time.Now()
			time.Sleep(took)
			if settle(t.Context(), began); time.Since(began) != grain {
				t.Errorf("what took %v was told after %v", took, time.Since(began))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began := time.Now()
		if settle(ctx, began); time.Since(began) != time.Millisecond {
			t.Errorf("a caller who has gone was waited for until %v", time.Since(began))
		}
	})
}
