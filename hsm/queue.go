package hsm

import (
	"context"
	"fmt"
	"time"
)

// acquire returns the epoch that is up, with one of its slots taken, and how long that
// took. Calls that cannot have one at once wait in a queue of Config.Queue, a full one refuses; one that was
// admitted before comes in again all the same.
func (t *Token) acquire(ctx context.Context, admitted bool) (*epoch, time.Duration, error) {
	if e := t.state.Load().epoch; e != nil && e.ctx.Err() == nil && ctx.Err() == nil {
		select {
		case e.slots <- struct{}{}:
			return e, 0, nil
		default:
		}
	}
	if n := t.waiting.Add(1); n > int64(t.cfg.Queue) && !admitted {
		t.waiting.Add(-1)
		return nil, 0, fmt.Errorf("token %s: %w: %d calls wait already", t.cfg.Name, ErrOverloaded, t.cfg.Queue)
	}
	defer t.waiting.Add(-1)
	start := time.Now()
	for {
		e, err := t.await(ctx)
		if err != nil {
			return nil, 0, err
		}
		select {
		case e.slots <- struct{}{}:
			return e, time.Since(start), nil
		case <-e.ctx.Done():
		case <-ctx.Done():
			return nil, 0, t.unavailable(ctx)
		}
	}
}
