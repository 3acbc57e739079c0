package signing

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/internal/metric"
)

func TestSettleWaitsForItsTimeOrTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, took := range []time.Duration{time.Microsecond, 7 * time.Millisecond} {
			began := time.Now()
			time.Sleep(took)
			if err := settle(t.Context(), began); err != nil || time.Since(began) != metric.Grain {
				t.Errorf("what took %v was told after %v", took, time.Since(began))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := settle(ctx, began); err == nil || time.Since(began) != time.Millisecond {
			t.Errorf("a caller who has gone was waited for until %v", time.Since(began))
		}
	})
}
