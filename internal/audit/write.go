package audit

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// put writes lines, and wakes the syncer. It has the turn.
func (l *Log) put(lines []byte) error {
	before := l.end.head
	err := l.write(lines)
	if err != nil {
		l.failures.Add(1)
	}
	// Lines that could not be taken back are not on the disk either.
	if l.end.head != before && l.syncsLater() && !l.dirty {
		l.dirty = true
		l.wakeSyncer()
	}
	return err
}

// syncsLater reports whether there is something to do a second after a write.
func (l *Log) syncsLater() bool { return l.opts.Sync == SyncSecond || l.opts.Anchor != "" }

func (l *Log) wakeSyncer() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// putPending writes the events that wait. It has the turn.
func (l *Log) putPending() error {
	if len(l.pending) == 0 {
		return nil
	}
	return l.put(nil)
}

// write chains lines and brings them into the file, or leaves it as it was. It has the turn.
func (l *Log) write(lines []byte) error {
	switch {
	case l.f == nil:
		return ErrClosed
	case l.gone != nil:
		return l.failed("replacing the deleted file of", l.gone)
	case l.syncErr != nil:
		return l.failed("syncing", l.syncErr)
	}
	if len(l.pending) > 0 {
		lines = slices.Concat(l.pending, lines)
	}
	out := l.out[:0]
	if l.end.open {
		out = append(out, '\n')
	}
	out, head := link(out, lines, l.end.head, &l.end.torn)
	if cap(out) <= maxSpare {
		l.out = out
	}
	if n, err := l.f.Write(out); err != nil {
		l.takeBack(out, n)
		return l.failed("writing", err)
	}
	if l.opts.Sync == SyncAlways {
		if err := l.f.Sync(); err != nil {
			l.takeBack(out, len(out))
			return l.failed("syncing", err)
		}
	}
	l.end, l.pending = tail{head: head}, nil
	return nil
}

// takeBack removes the first n bytes of out, which are the last of the file, so that no line
// stands in it whose act was told that it does not. Where that fails too, the whole lines
// among them are lines of the chain, and the next write ends and declares the piece behind.
func (l *Log) takeBack(out []byte, n int) {
	if n <= 0 {
		return
	}
	size, err := l.f.Size()
	if err == nil {
		err = l.f.Truncate(size - int64(n))
	}
	if err == nil {
		return
	}
	at := 0
	if l.end.open {
		at, l.end.open = 1, false
	}
	for at < n {
		end := at + bytes.IndexByte(out[at:], '\n')
		if l.end.open = end >= n; end > n {
			l.end.torn.add(out[at:n])
			return
		}
		l.end.head, l.end.torn = l.end.head.next(out[at:end]), torn{}
		at = end + 1
	}
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
		case <-l.life.Done():
			return
		}
		for again := true; again; {
			select {
			case <-time.After(time.Second):
			case <-l.life.Done():
				return
			}
			again = l.sync() != nil
		}
	}
}

// sync brings the file to the disk beside the signing path: appenders have their turns
// meanwhile. While it fails they are refused. Linux reports lost pages once (fsync(2)), so
// the success that ends this shows that the disk writes again, not that nothing was lost.
// What is on the disk then is noted in the anchor.
func (l *Log) sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.turn <- struct{}{}
	f, dirty, head := l.f, l.dirty, l.end.head
	l.dirty = false
	<-l.turn
	if !dirty {
		return nil
	}
	err := f.Sync()
	noted := err == nil && l.keepAnchor(head) == nil
	l.turn <- struct{}{}
	l.syncErr = err
	l.dirty = l.dirty || !noted
	<-l.turn
	if err == nil && !noted {
		l.wakeSyncer()
	}
	return err
}
