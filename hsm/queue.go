package hsm

import (
	"context"
	"errors"
	"time"
)

// acquire returns the epoch that is up, with one of its slots taken, what it holds of the key, and how
// long that took. Calls that cannot have a slot at once, and those that probe, wait in a queue of
// Config.Queue, a full one refuses; one that was admitted before comes in again all the same.
func (k *Key) acquire(ctx context.Context, m method, admitted bool) (*epoch, *belief, time.Duration, error) {
	t := k.token
	if e := t.state.Load().epoch; e != nil && e.ctx.Err() == nil && ctx.Err() == nil {
		if b := k.believed(e); b != nil && b.proven[m].Load() {
			select {
			case e.slots <- struct{}{}:
				return e, b, 0, nil
			default:
			}
		}
	}
	if err := t.enqueue(admitted); err != nil {
		return nil, nil, 0, err
	}
	defer t.leave()
	start := time.Now()
	for failed := 0; ; {
		e, err := t.await(ctx)
		if err != nil {
			return nil, nil, 0, err
		}
		b, err := k.believe(ctx, e)
		if err != nil {
			if failed++; failed < attempts && ctx.Err() == nil && e.ctx.Err() != nil && errors.Is(err, ErrUnavailable) {
				continue // the next epoch begins with a list
			}
			return nil, nil, 0, k.wrap(err)
		}
		if refusal := b.unsupported[m].Load(); refusal != nil {
			return nil, nil, 0, k.wrapUnsupported(refusal)
		}
		if err := t.suspects.check(way{k.identity, m}, time.Now()); err != nil {
			return nil, nil, 0, k.wrap(err)
		}
		select {
		case e.slots <- struct{}{}:
			return e, b, time.Since(start), nil
		case <-e.ctx.Done():
		case <-ctx.Done():
			return nil, nil, 0, t.unavailable(ctx)
		}
	}
}

// enqueue counts a call that waits, or refuses it.
func (t *Token) enqueue(admitted bool) error {
	if n := t.waiting.Add(1); n > int64(t.cfg.Queue) && !admitted {
		t.waiting.Add(-1)
		return &OverloadedError{
			Token: t.cfg.Name, Queue: t.cfg.Queue,
			RetryAfter: retryAfter(t.cfg.Queue, t.cfg.Sessions, t.recent.get(), t.Status().Up),
		}
	}
	t.metrics.queue.Inc()
	return nil
}

func (t *Token) leave() {
	t.waiting.Add(-1)
	t.metrics.queue.Dec()
}
