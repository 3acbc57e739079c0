package hsm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Token is one token, which may come and go. Its methods may be called from many
// goroutines. Those that need the token wait for it until their context ends, and then
// return an error that wraps ErrUnavailable, the reason, and the context's cause.
type Token struct {
	cfg     Config
	metrics *tokenMetrics

	ctx    context.Context // ends with ErrClosed
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the supervisor has ended
	wake   chan struct{} // to the supervisor, when what it waits for may have come

	state      atomic.Pointer[state]
	room       room                   // calls that wait for the token or for a slot; bounded by Config.Queue
	recent     recent                 // of the module's time for one signature or decryption
	kinds      [methods][specs]recent // the same, by method and key spec
	stuck      stuck
	suspects   suspects
	generating chan struct{} // full while a key is being made: some modules cannot make two at once

	// The supervisor's own.
	epochs uint64 // workers started
	permit bool   // the operator removed a marker: one login in spite of the token's flags
	told   error  // the problem that was logged last
}

// state is what readers see; it is replaced as a whole.
type state struct {
	epoch   *epoch // nil while down
	err     error  // why, while down
	status  Status
	changed chan struct{} // closed when another state takes this one's place
}

// Status tells how a token is.
type Status struct {
	Up    bool      `json:"up"`
	Since time.Time `json:"since"` // of Up being what it is
	// Problem is one line: what is wrong, and what is tried next. Empty while up.
	Problem string `json:"problem,omitempty"`
	// Info is the token as the latest epoch that came up found it; the zero value before the first.
	Info Info `json:"info"`
	// FoundSerial is the serial number of the token that was found and refused for it
	// (ErrWrongSerial); AcceptSerial accepts it. Empty otherwise.
	FoundSerial string `json:"found_serial,omitempty"`
	// WorkerPID is 0 while down, and where the worker has no process of its own.
	WorkerPID int `json:"worker_pid,omitempty"`
}

// Start checks cfg and begins to bring the token up. It does not wait for it.
func Start(cfg Config) (*Token, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	t := &Token{
		cfg:        cfg,
		metrics:    cfg.Metrics.of(cfg.Name),
		done:       make(chan struct{}),
		wake:       make(chan struct{}, 1),
		generating: make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.metrics.up.Set(0)
	t.state.Store(&state{
		err:     errStarting,
		status:  Status{Since: time.Now(), Problem: errStarting.Error()},
		changed: make(chan struct{}),
	})
	go t.supervise()
	return t, nil
}

var errStarting = errors.New("it is being started")

// Ready waits until the token is up, also for as long as a person takes.
func (t *Token) Ready(ctx context.Context) error {
	for {
		s := t.state.Load()
		if _, err := t.await(ctx); !needsPerson(err) {
			return err
		}
		select {
		case <-s.changed:
		case <-t.ctx.Done():
		case <-ctx.Done():
			return t.unavailable(ctx)
		}
	}
}

// needsPerson tells whether err is of a token that will not come up by itself.
func needsPerson(err error) bool {
	return errors.Is(err, ErrPINBlocked) || errors.Is(err, ErrWrongSerial)
}

// Attempt waits until the token is up or the first attempt to bring it up has failed, and
// says why: for commands that a person waits for.
func (t *Token) Attempt(ctx context.Context) error {
	for {
		s := t.state.Load()
		switch {
		case s.status.Up:
			return nil
		case s.err != errStarting:
			return fmt.Errorf("token %s: %w: %w", t.cfg.Name, ErrUnavailable, s.err)
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return t.unavailable(ctx)
		}
	}
}

// Status tells how the token is now.
func (t *Token) Status() Status { return t.state.Load().status }

// RetryPIN allows one more login although a PIN was refused or a login was cut off, and
// starts it at once. It does nothing where nothing blocks. It also replaces a marker that cannot be read.
func (t *Token) RetryPIN(ctx context.Context) error {
	if t.Status().Up {
		return nil
	}
	unlock, err := t.cfg.Marker.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := t.cfg.Marker.facts()
	if err == nil && f.state == pinNone && !errors.Is(t.state.Load().err, ErrPINBlocked) {
		return nil // the login that was under way succeeded, or nothing is held against one
	}
	if err := t.cfg.Marker.set(t.cfg.Name, "", pinAllowed); err != nil {
		return err
	}
	t.rouse()
	return nil
}

// rouse has the supervisor look at once.
func (t *Token) rouse() {
	select {
	case t.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Close ends what is under way with ErrClosed, asks the worker to finalise the module, ends
// it, and waits until that is done or ctx ends. It may be called again.
func (t *Token) Close(ctx context.Context) error {
	t.cancel(ErrClosed)
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("token %s: wait for the worker to end: %w", t.cfg.Name, context.Cause(ctx))
	}
}

// await returns the epoch that is up, waiting for it until ctx ends.
func (t *Token) await(ctx context.Context) (*epoch, error) {
	for {
		s := t.state.Load()
		if s.epoch != nil && s.epoch.ctx.Err() == nil {
			return s.epoch, nil
		}
		if t.ctx.Err() != nil {
			return nil, t.wrap(ErrClosed)
		}
		if needsPerson(s.err) { // which no caller's deadline outlasts
			return nil, t.wrap(fmt.Errorf("%w: %w", ErrUnavailable, s.err))
		}
		select {
		case <-s.changed:
		case <-t.ctx.Done():
		case <-ctx.Done():
			return nil, t.unavailable(ctx)
		}
	}
}

// unavailable is the error of a call whose context ended.
func (t *Token) unavailable(ctx context.Context) error {
	if s := t.state.Load(); s.err != nil {
		return fmt.Errorf("token %s: %w: %w: %w", t.cfg.Name, ErrUnavailable, s.err, context.Cause(ctx))
	}
	return fmt.Errorf("token %s: %w: it did not answer in time: %w", t.cfg.Name, ErrUnavailable, context.Cause(ctx))
}

func (t *Token) wrap(err error) error { return fmt.Errorf("token %s: %w", t.cfg.Name, err) }
