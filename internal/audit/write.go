package audit

import (
	"errors"
	"fmt"
	"time"
)

// write brings lines into the file, or leaves it as it was. It has the turn.
func (l *Log) write(lines []byte) error {
	if l.f == nil {
		return ErrClosed
	}
	if l.syncErr != nil {
		return l.failed("syncing", l.syncErr)
	}
	if l.torn {
		if _, err := l.f.Write([]byte("\n")); err != nil {
			return l.failed("writing", err)
		}
		l.torn = false
	}
	if n, err := l.f.Write(lines); err != nil {
		l.takeBack(n)
		return l.failed("writing", err)
	}
	if l.mode == SyncAlways {
		if err := l.f.Sync(); err != nil {
			l.takeBack(len(lines))
			return l.failed("syncing", err)
		}
	}
	return nil
}

// takeBack removes the last n bytes, so that no line stands in the file whose act was told
// that it does not. Where that fails too, the next write ends the piece that is there.
func (l *Log) takeBack(n int) {
	if n <= 0 {
		return
	}
	size, err := l.f.Size()
	if err == nil {
		err = l.f.Truncate(size - int64(n))
	}
	l.torn = err != nil
}

func (l *Log) failed(doing string, err error) error {
	return fmt.Errorf("%s the audit log %s: %w; nothing is signed until it can be written", doing, l.path, err)
}

// syncEverySecond syncs a second after the file became dirty, and again each second until
// it succeeds.
func (l *Log) syncEverySecond() {
	for {
		select {
		case <-l.kick:
		case <-l.stop:
			return
		}
		for again := true; again; {
			select {
			case <-time.After(time.Second):
			case <-l.stop:
				return
			}
			again = l.sync() != nil
		}
	}
}

// sync brings the file to the disk beside the signing path: appenders have their turns
// meanwhile. While it fails they are refused. Linux reports lost pages once (fsync(2)), so
// the success that ends this shows that the disk writes again, not that nothing was lost.
func (l *Log) sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.turn <- struct{}{}
	f, dirty := l.f, l.dirty
	l.dirty = false
	<-l.turn
	if !dirty {
		return nil
	}
	err := f.Sync()
	l.turn <- struct{}{}
	l.syncErr = err
	l.dirty = l.dirty || err != nil
	<-l.turn
	return err
}

// Reopen opens the path anew, after logrotate has moved the file away. Where that fails,
// the log goes on in the old file and the error is returned.
func (l *Log) Reopen() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.f == nil {
		return ErrClosed
	}
	f, torn, err := l.open(l.path)
	if err != nil {
		return fmt.Errorf("opening the audit log anew: %w; it goes on in the old file", err)
	}
	err = l.finish()
	l.f, l.torn, l.dirty, l.syncErr = f, torn, false, nil
	if err != nil {
		return fmt.Errorf("finishing the old file of the audit log %s: %w; its last second may be lost", l.path, err)
	}
	return nil
}

// Close syncs and closes the file. An Append under way has its line in it or returns
// ErrClosed, as all later ones do.
func (l *Log) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	close(l.stop)
	l.stopped.Wait()
	l.syncing.Lock() // a Reopen under way ends first
	defer l.syncing.Unlock()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	err := l.finish()
	l.f = nil
	if err != nil {
		return fmt.Errorf("closing the audit log %s: %w", l.path, err)
	}
	return nil
}

// finish syncs and closes the file. It has the turn, and syncing.
func (l *Log) finish() error {
	var err error
	if l.dirty {
		err = l.f.Sync()
	}
	return errors.Join(err, l.f.Close())
}
