package hsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/hsm/wire"
)

// epoch is one worker from its start to its end. Whatever finds that it can no longer
// be relied on calls end; the supervisor does the rest.
type epoch struct {
	token  *Token
	worker Worker
	client *wire.Client
	info   Info

	// slots are as many as the worker has sessions and half as many again: enough for a session never to
	// idle, few enough for those behind to be free to give up, and for whoever is next in the line to be through
	// within twice the time of a signature.
	slots     slots
	turn      chan struct{} // full while keys are being listed, made or destroyed; see takeTurn
	inventory inventory
	beliefs   beliefs

	ctx context.Context // ends with the cause of the epoch's end
	end context.CancelCauseFunc
}

// begin starts a worker and brings it to where it signs. On an error no worker is left.
func (t *Token) begin() (*epoch, error) {
	ctx, cancel := t.limited(wire.OpOpen)
	defer cancel()
	w, err := t.cfg.Launch(ctx)
	if err != nil {
		return nil, &startError{err}
	}
	e := &epoch{
		token: t, worker: w, slots: slots{free: t.cfg.Sessions + (t.cfg.Sessions+1)/2},
		turn: make(chan struct{}, 1), beliefs: beliefs{epoch: t.epochs},
	}
	e.ctx, e.end = context.WithCancelCause(t.ctx)
	err = explain(ctx, e.open(ctx))
	if err == nil {
		ctx, cancel := t.limited(wire.OpLogin)
		defer cancel()
		err = explain(ctx, e.login(ctx))
	}
	if err == nil {
		_, err = e.objects(t.ctx)
	}
	if err != nil {
		e.end(err)
		e.stop()
		return nil, err
	}
	return e, nil
}

func (t *Token) limited(op wire.Op) (context.Context, context.CancelFunc) {
	limit := t.cfg.Limits.of(op)
	return context.WithTimeoutCause(t.ctx, limit, &hung{op, limit})
}

// explain adds to err why ctx ended, where it did.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

func (e *epoch) open(ctx context.Context) error {
	client, _, err := wire.NewClient(ctx, e.worker.Conn())
	if err != nil {
		return fmt.Errorf("greet the worker: %w", err)
	}
	e.client = client
	go func() {
		<-client.Done()
		e.end(fmt.Errorf("the connection to the worker ended: %w", client.Err()))
	}()
	info, timing, err := client.Open(ctx, e.token.cfg.Open)
	if timing.Call > 0 {
		e.token.metrics.other[wire.OpOpen].Observe(timing.Call.Seconds())
	}
	if err != nil {
		return fmt.Errorf("open the token: %w", err)
	}
	if want := e.token.cfg.Serial(); want != "" && info.Serial != want {
		return &wrongSerial{found: info.Serial, remembered: want}
	}
	e.info = info
	return nil
}

// stop gives the worker a moment to finalise the module, so that an appliance gets its
// sessions back, and ends it.
func (e *epoch) stop() {
	if e.client != nil && e.client.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), e.token.cfg.Limits.Finalise)
		defer cancel()
		if e.client.Close(ctx) == nil {
			select {
			case <-e.worker.Exited():
			case <-ctx.Done():
			}
		}
	}
	e.worker.Kill()
	select {
	case <-e.worker.Exited():
	case <-time.After(unkillableAfter):
		e.token.abandon(e.worker)
	}
}

// unkillableAfter: a process that was killed and is still there is in a system call that
// cannot be interrupted.
const unkillableAfter = 5 * time.Second

type outcome[T any] struct {
	value T
	err   error
}

// call asks the worker of e for one thing and waits for the answer, for the epoch's end, or for
// ctx. When ctx ends first, the call goes on behind: its answer still counts in the
// metrics and against the epoch, and finished is called only when there is one. A plaintext that
// nobody takes is cleared.
func call[T any](ctx context.Context, e *epoch, op wire.Op, o prometheus.Observer, finished func(wire.Timing),
	ask func(context.Context) (T, wire.Timing, error)) (T, error) {
	ch := make(chan outcome[T])
	go func() {
		limit := e.token.cfg.Limits.of(op)
		limited, cancel := context.WithTimeoutCause(e.ctx, limit, &hung{op, limit})
		defer cancel()
		v, timing, err := ask(limited)
		if err != nil && err == context.Cause(e.ctx) {
			err = &epochEnded{err}
		}
		if timing.Call > 0 {
			o.Observe(timing.Call.Seconds())
		}
		if err != nil && judge(op, err) == endsEpoch {
			e.end(fmt.Errorf("%s: %w", op, err)) // of several causes the first stays
		}
		finished(timing)
		select {
		case ch <- outcome[T]{v, err}:
		case <-ctx.Done():
			if d, ok := any(v).(wire.Decrypted); ok {
				clear(d.Plaintext)
			}
		}
	}()
	select {
	case r := <-ch:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, e.token.unavailable(ctx)
	}
}
