package audit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// sealWait bounds how long a new file, or the end, waits for a last checkpoint.
const sealWait = 5 * time.Second

// Reopen opens the path anew, after logrotate has moved the file away, and goes on with the
// chain there. The old file gets a checkpoint first, if that does not take longer than 5 s.
// Where the new file cannot be opened, the log goes on in the old one and the error is
// returned. A file that was not moved away is gone on with.
func (l *Log) Reopen() error {
	l.sealLast()
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.f == nil {
		return ErrClosed
	}
	err, finishErr := l.reopen()
	if err != nil {
		return fmt.Errorf("opening the audit log anew: %w; it goes on in the old file", err)
	}
	if finishErr != nil {
		return fmt.Errorf("finishing the old file of the audit log %s: %w; its last second may be lost", l.path, finishErr)
	}
	return nil
}

// reopen changes to the file that stands at the path. It has the turn, and syncing.
func (l *Log) reopen() (err, finishErr error) {
	f, err := l.open(l.path)
	if err != nil {
		return err, nil
	}
	size, err := f.Size()
	var end tail
	if err == nil {
		end, err = findTail(f, size)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("reading how %s ends: %w", l.path, err), nil
	}
	if end.head != l.end.head { // another file: what it holds is foreign, as is a piece at the end of the old one
		end, err = l.foreign(f)
		if err != nil {
			f.Close()
			return err, nil
		}
		l.introduced = nil
	}
	finishErr = l.finish()
	for _, e := range end.torn.events() {
		l.tell(e)
	}
	l.f, l.end, l.dirty, l.syncErr, l.gone = f, end, false, nil, nil
	return nil, finishErr
}

// Close writes the refusals that are counted, and a checkpoint if that does not take longer
// than 5 s, syncs and closes the file. An Append under way has its line in it or returns
// ErrClosed, as all later ones do.
func (l *Log) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	l.stop()
	l.stopped.Wait()
	err := l.writeCounted()
	l.sealLast()
	l.syncing.Lock() // a Reopen under way ends first
	defer l.syncing.Unlock()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	err = errors.Join(err, l.finish())
	l.f, l.dirty = nil, false
	if err != nil {
		return fmt.Errorf("closing the audit log %s: %w", l.path, err)
	}
	return nil
}

// sealLast makes a checkpoint before the file is left. Where there is none the loss is
// logged, and the next one covers the lines.
func (l *Log) sealLast() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), sealWait, errSlow)
	defer cancel()
	if err := l.Checkpoint(ctx); err != nil && !errors.Is(err, ErrClosed) {
		l.isLate(err)
	}
}

// finish syncs and closes the file, and notes its end. It has the turn, and syncing.
func (l *Log) finish() error {
	var err error
	if l.dirty {
		err = l.f.Sync()
	}
	if err == nil && len(l.pending) == 0 {
		l.keepAnchor(l.end.head) // tells what fails; the log itself is whole
	}
	return errors.Join(err, l.f.Close())
}
