package hsm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// lookAgain is how soon a marker that blocks is looked at again.
	lookAgain = time.Second
	// personsPace is how soon a worker is started again to look at what only a person can
	// change: another serial number, the token's PIN flags.
	personsPace = 5 * time.Second
)

// supervise is the token's life: one epoch after the other until Close.
func (t *Token) supervise() {
	defer close(t.done)
	failures := 0
	for t.ctx.Err() == nil {
		if err := t.gate(); err != nil {
			next := ""
			if !needsPerson(err) {
				next = fmt.Sprintf("looking again every %v", lookAgain)
			}
			t.down(err, next)
			t.sleep(lookAgain)
			continue
		}
		if err := t.stuck.check(t.cfg.Unkillable); err != nil {
			t.down(err, "waiting for one of them to end")
			t.sleep(lookAgain)
			continue
		}
		if t.epochs++; t.epochs > 1 {
			t.metrics.restarts.Inc()
		}
		e, err := t.begin()
		if err == nil {
			since := time.Now()
			t.up(e)
			<-e.ctx.Done()
			if time.Since(since) >= stableAfter {
				failures = 0
			}
			err = context.Cause(e.ctx)
			t.down(err, "starting a new worker")
			e.stop()
		}
		t.metrics.epochs[causeOf(err)].Inc()
		failures++
		if needsPerson(err) {
			t.down(err, "")
			t.sleep(personsPace)
			continue
		}
		pause := backoff(failures, rand.Float64())
		t.down(err, fmt.Sprintf("trying again in %v", pause.Round(time.Millisecond)))
		t.sleep(pause)
	}
	t.down(ErrClosed, "nothing is tried any more")
}

// gate tells whether starting a worker has any prospect: none while a marker stands that
// no token could overrule. A refusal's marker that a person removed counts as a permit.
func (t *Token) gate() error {
	f, err := t.pinFacts()
	if err != nil {
		return err
	}
	if old, ok := errors.AsType[*pinBlock](t.state.Load().err); ok && old.refused && f.state == pinNone {
		t.permit = true
		return nil
	}
	if ok, why := conceivable(f); !ok {
		return &pinBlock{why: why, refused: f.state == pinRefused}
	}
	return nil
}

func (t *Token) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.wake:
	case <-t.ctx.Done():
	}
}

func (t *Token) up(e *epoch) {
	t.told = nil
	t.metrics.up.Set(1)
	t.cfg.Logger.Info("the token is up", "serial", e.info.Serial, "label", e.info.Label, "worker", e.worker.PID())
	t.publish(&state{epoch: e, status: Status{Up: true, Info: e.info, WorkerPID: e.worker.PID()}})
}

// down publishes why the token is down, and logs it unless it said the same before.
func (t *Token) down(err error, next string) {
	t.metrics.up.Set(0)
	problem := describe(err)
	if next != "" { // what the daemon does about it by itself
		problem += "; " + next
	}
	if t.told == nil || t.told.Error() != err.Error() {
		t.told = err
		if !errors.Is(err, ErrClosed) {
			t.cfg.Logger.Warn("the token is down", "problem", problem)
		}
	}
	s := Status{Problem: problem, Info: t.Status().Info}
	if refused, ok := errors.AsType[*wrongSerial](err); ok {
		s.FoundSerial = refused.found
	}
	t.publish(&state{err: err, status: s})
}

func (t *Token) publish(s *state) {
	old := t.state.Load()
	s.changed = make(chan struct{})
	s.status.Since = time.Now()
	turned := old.status.Up != s.status.Up
	if !turned {
		s.status.Since = old.status.Since
	}
	t.state.Store(s)
	close(old.changed)
	if turned {
		t.cfg.OnChange()
	}
}
