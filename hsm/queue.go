package hsm

import (
	"context"
	"errors"
	"time"
)

// acquire returns the epoch that is up, with one of its slots taken, what it holds of the key, and how
// long that took. Calls that cannot have a slot at once, and those that probe, wait in a queue of
// Config.Queue; one that was admitted before comes in again all the same, before others of its share.
func (k *Key) acquire(ctx context.Context, m method, admitted bool) (*epoch, *belief, time.Duration, error) {
	t := k.token
	if e := t.state.Load().epoch; e != nil && e.ctx.Err() == nil && ctx.Err() == nil {
		if b := k.believed(e, m.usage()); b != nil && b.proven[m].Load() && e.slots.take() {
			return e, b, 0, nil
		}
	}
	start := time.Now()
	ctx, p, err := t.enqueue(ctx, admitted)
	if err != nil {
		return nil, nil, 0, err
	}
	defer t.leave(p)
	e, b, err := k.wait(ctx, m, p)
	if err != nil {
		if full, ok := errors.AsType[*OverloadedError](context.Cause(ctx)); ok {
			return nil, nil, 0, full
		}
		return nil, nil, 0, err
	}
	return e, b, time.Since(start), nil
}

// wait is acquire for a call that has its place in the queue.
func (k *Key) wait(ctx context.Context, m method, p *place) (*epoch, *belief, error) {
	t := k.token
	for failed := 0; ; {
		e, err := t.await(ctx)
		if err != nil {
			return nil, nil, err
		}
		b, err := k.believe(ctx, e, m.usage())
		if err != nil {
			if failed++; failed < attempts && ctx.Err() == nil && e.ctx.Err() != nil && errors.Is(err, ErrUnavailable) {
				continue // the next epoch begins with a list
			}
			return nil, nil, k.wrap(opOf(m), err)
		}
		if refusal := b.unsupported[m].Load(); refusal != nil {
			return nil, nil, k.wrapUnsupported(m, refusal)
		}
		if err := t.suspects.check(k.way(m), time.Now()); err != nil {
			return nil, nil, k.wrap(opOf(m), err)
		}
		p.cost = cost{k.kind(m), &t.recent}
		select {
		case <-e.slots.enter(p):
			if e.ctx.Err() == nil { // what an epoch's end ended gives slots back that are worth nothing
				return e, b, nil
			}
		case <-e.ctx.Done():
		case <-ctx.Done():
		}
		e.slots.abandon(p)
		if ctx.Err() != nil {
			return nil, nil, t.unavailable(ctx)
		}
	}
}

// enqueue gives a call a place in the queue, or refuses it. The context is for its wait, and ends
// with an *OverloadedError if it has to go for another.
func (t *Token) enqueue(ctx context.Context, admitted bool) (context.Context, *place, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &place{share: shareOf(ctx), admitted: admitted, sendAway: cancel}
	out, ok := t.room.enter(p, t.cfg.Queue)
	if !ok {
		cancel(nil)
		return nil, nil, t.overloaded()
	}
	if out != nil {
		out.sendAway(t.overloaded())
	}
	t.metrics.queue.Inc()
	return ctx, p, nil
}

func (t *Token) leave(p *place) {
	t.room.leave(p)
	p.sendAway(nil)
	t.metrics.queue.Dec()
}

func (t *Token) overloaded() error {
	return &OverloadedError{
		Token: t.cfg.Name, Queue: t.cfg.Queue,
		RetryAfter: retryAfter(t.cfg.Queue, t.cfg.Sessions, t.recent.get(), t.Status().Up),
	}
}
