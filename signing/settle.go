package signing

import (
	"context"
	"time"
)

// grain is the least time in which it is told that a message does not decrypt.
const grain = 10 * time.Millisecond

// settled is when something is told that took so long: after grain, or its next doubling. Tokens
// take some percent longer, or shorter, over what they refuse (SoftHSM 2.6: 6 % over a bad OAEP block);
// whoever sends messages to find out how they fail must not see that.
func settled(took time.Duration) time.Duration {
	at := grain
	for at < took {
		at *= 2
	}
	return at
}

// settle waits until what began then may be told. The token and its queue are free meanwhile.
func settle(ctx context.Context, began time.Time) {
	took := time.Since(began)
	wait := time.NewTimer(settled(took) - took)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}
