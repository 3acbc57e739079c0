package signing

import (
	"context"
	"time"

	"keysetd.example/internal/metric"
)

// settle waits until what began then may be told: tokens take some percent longer, or shorter, over what
// they refuse (SoftHSM 2.6: 6 % over a bad OAEP block), and whoever sends messages to find out how they
// fail must not see that. The token and its queue are free meanwhile.
//
// The error is that of ctx, which ended before: what the token said is then not to be told, nor counted nor
// audited, since a caller that hangs up at an instant of its choice would learn whether it had answered by then.
func settle(ctx context.Context, began time.Time) error {
	took := time.Since(began)
	wait := time.NewTimer(metric.Settled(took) - took)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
