package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Times of sealing.
const (
	sealLimit   = 30 * time.Second // for one checkpoint
	sealBackoff = time.Second      // after the first that failed, then doubled up to Options.Every
)

var errSlow = errors.New("the token did not sign it in time")

// sealEvery makes a checkpoint each Every, and tries again sooner where that fails.
func (l *Log) sealEvery() {
	wait, backoff := l.opts.Every, sealBackoff
	for {
		select {
		case <-time.After(wait):
		case <-l.life.Done():
			return
		}
		ctx, cancel := context.WithTimeoutCause(l.life, sealLimit, errSlow)
		err := l.Checkpoint(ctx)
		cancel()
		switch {
		case l.life.Err() != nil:
			return
		case err != nil:
			l.isLate(err)
			wait, backoff = min(backoff, l.opts.Every), min(2*backoff, l.opts.Every)
		default:
			wait, backoff = l.opts.Every, sealBackoff
		}
	}
}

// isLate notes since when no checkpoint could be made, and tells it once.
func (l *Log) isLate(err error) {
	l.mu.Lock()
	first := l.late.IsZero()
	if first {
		l.late = time.Now()
	}
	l.mu.Unlock()
	if first {
		l.opts.Logger.Warn("the audit log's checkpoint is late and will be made when the token signs again", "error", err)
	}
}

// Checkpoint makes a checkpoint now, if lines were written since the last one. It should be
// called before the token is put away, since Close comes after that. Without a Sealer it
// does nothing. The end of ctx ends the wait; a Seal that is under way and does not heed it
// keeps others from beginning.
func (l *Log) Checkpoint(ctx context.Context) error {
	if l.opts.Sealer == nil {
		return nil
	}
	done := make(chan error, 1)
	select {
	case l.sealing <- struct{}{}:
		go func() {
			err := l.checkpoint(ctx)
			<-l.sealing
			done <- err
		}()
	case <-ctx.Done():
		return fmt.Errorf("making a checkpoint of the audit log while another is under way: %w", context.Cause(ctx))
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("making a checkpoint of the audit log: %w", context.Cause(ctx))
	}
}

// checkpoint has the last line signed. Lines are written meanwhile.
func (l *Log) checkpoint(ctx context.Context) error {
	keys, kids, err := keysByKID(l.opts.Sealer.Keys())
	if err != nil {
		return err
	}
	head, due, err := l.due(keys, kids)
	if err != nil || !due {
		return err
	}
	// What a checkpoint names must outlast a power cut, or the cut would look like a forgery.
	if err := l.sync(); err != nil {
		return l.failed("syncing", err)
	}
	now := time.Now().UTC()
	l.mu.Lock()
	late := l.late.UTC()
	l.mu.Unlock()
	payload, err := json.Marshal(claims{head.Seq, head.prev(), now, l.opts.Installation, late})
	if err != nil {
		return err
	}
	compact, err := l.opts.Sealer.Seal(ctx, payload)
	switch {
	case err != nil:
		return fmt.Errorf("signing a checkpoint of the audit log: %w", err)
	case ctx.Err() != nil: // whoever asked has gone on, and a later one covers more
		return context.Cause(ctx)
	}
	if err := proves(compact, head, keys); err != nil {
		return fmt.Errorf("a checkpoint of the audit log was signed wrongly: %w", err)
	}
	if err := l.writeCheckpoint(head, compact, keys, kids); err != nil {
		return err
	}
	attrs := []any{"checkpoint", compact, "seq", head.Seq}
	if !late.IsZero() {
		attrs = append(attrs, "late_since", late)
	}
	l.opts.Logger.Info("audit checkpoint", attrs...)
	return nil
}

// due introduces the keys that this file does not know, and returns the line to be signed.
func (l *Log) due(keys map[string]*jose.JSONWebKey, kids []string) (head Head, due bool, err error) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	switch {
	case l.f == nil:
		return Head{}, false, ErrClosed
	case l.end.head.Seq <= l.covered && l.knows(kids):
		return Head{}, false, nil
	case len(kids) == 0:
		return Head{}, false, errors.New("making a checkpoint of the audit log: its keyset has no key that signs")
	}
	// No checkpoint covers lines of before the start whose event does not stand behind them.
	if err := l.putPending(); err != nil {
		return Head{}, false, err
	}
	if err := l.introduce(keys, kids, nil); err != nil {
		return Head{}, false, err
	}
	return l.end.head, true, nil
}

// introduce writes the keys that this file does not know, and lines behind them. It has the turn.
func (l *Log) introduce(keys map[string]*jose.JSONWebKey, kids []string, lines []byte) (err error) {
	known := l.knows(kids)
	var keyLines []byte
	for _, kid := range kids {
		if !l.introduced[kid] {
			if keyLines, err = appendKey(keyLines, time.Now(), keys[kid]); err != nil {
				return err
			}
		}
	}
	if known && len(lines) == 0 {
		return nil
	}
	if err := l.put(append(keyLines, lines...)); err != nil || known {
		return err
	}
	l.introduced = make(map[string]bool)
	for _, kid := range kids {
		l.introduced[kid] = true
	}
	return nil
}

// knows reports whether all these keys were introduced in this file. One that is to come
// must be vouched for even while nothing else happens.
func (l *Log) knows(kids []string) bool {
	return !slices.ContainsFunc(kids, func(kid string) bool { return !l.introduced[kid] })
}

// proves checks a checkpoint before it is written, as a reader will.
func proves(compact string, head Head, keys map[string]*jose.JSONWebKey) error {
	c, err := readCheckpoint(compact)
	if err != nil {
		return err
	}
	if c.head != head {
		return errors.New("it names another line")
	}
	return c.verify(keys)
}

// writeCheckpoint writes the line of a checkpoint of head. The file may be another than when it was
// begun, and then must know the keys.
func (l *Log) writeCheckpoint(head Head, compact string, keys map[string]*jose.JSONWebKey, kids []string) error {
	line := appendCheckpoint(nil, time.Now(), compact)
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.f == nil {
		return ErrClosed
	}
	if err := l.introduce(keys, kids, line); err != nil {
		return err
	}
	l.sealed.Store(time.Now().Unix())
	l.covered = head.Seq
	if l.end.head.Seq == head.Seq+1 { // but for the checkpoint there is nothing new
		l.covered = l.end.head.Seq
	}
	l.mu.Lock()
	l.late = time.Time{}
	l.mu.Unlock()
	return nil
}
