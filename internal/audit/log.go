// Package audit writes the audit log: one line of JSON for each act that was granted,
// refused or failed. An act's line is written before its result leaves the daemon; where
// it cannot be written, the result does not leave.
package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Sync says when lines are brought to the disk.
type Sync string

// The ways to sync.
const (
	// SyncSecond syncs once a second; a power cut may lose the last second. A crash of the
	// daemon loses nothing.
	SyncSecond Sync = "second"
	// SyncAlways syncs before Append returns; those who wait at the same time share one sync.
	SyncAlways Sync = "always"
)

// Options of a log.
type Options struct {
	// Sync is SyncSecond where it is empty.
	Sync Sync
}

// maxSpare is the largest buffer that is kept for the next group.
const maxSpare = 64 << 10

// ErrClosed means that Close was called.
var ErrClosed = errors.New("the audit log is closed")

// Log is an open audit log. It is safe for concurrent use.
//
// Lines are written in groups. The first to join a group leads it: it waits for its turn
// at the file, while others join, and then writes the whole group with one write(2). So a
// lone caller pays for a write and nothing else, and many callers share one.
type Log struct {
	path string
	mode Sync
	open opener

	mu      sync.Mutex // guards what follows; never held during I/O
	waiting *group     // those who joined and whose leader has not had its turn
	spare   *group     // for the next group, to save the allocation
	closed  bool

	// turn holds one token; who has taken it may use what follows.
	turn    chan struct{}
	f       file
	torn    bool  // the file ends in the middle of a line
	dirty   bool  // written since the last sync began
	syncErr error // of the last sync, until one succeeds

	syncing sync.Mutex    // held during a sync beside the turn, so that f is not closed meanwhile
	kick    chan struct{} // wakes the syncer when the file became dirty
	stop    chan struct{}
	stopped sync.WaitGroup
}

// group is lines that are written together.
type group struct {
	buf  []byte
	done chan struct{} // closed once err is set; nil where the leader is alone
	err  error
}

// Open opens or creates the log at path, mode 0600, and goes on after its last line. A
// line that a crash cut short is left as it is and ended.
func Open(path string, opts Options) (*Log, error) { return openWith(path, opts, openFile) }

func openWith(path string, opts Options, open opener) (*Log, error) {
	switch opts.Sync {
	case "":
		opts.Sync = SyncSecond
	case SyncSecond, SyncAlways:
	default:
		return nil, fmt.Errorf("audit sync is neither %s nor %s", SyncSecond, SyncAlways)
	}
	f, torn, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	l := &Log{
		path: path, mode: opts.Sync, open: open, f: f, torn: torn,
		waiting: new(group), turn: make(chan struct{}, 1),
		kick: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if l.mode == SyncSecond {
		l.stopped.Go(l.syncEverySecond)
	}
	return l, nil
}

// Append writes r and returns once its line is in the file, or on the disk with
// SyncAlways. On an error the act's result must not leave the daemon: the line is not
// there, or cannot be trusted to last. The end of ctx ends the wait, not the writing: the
// line may then be written all the same.
func (l *Log) Append(ctx context.Context, r Record) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	g := l.waiting
	leads := len(g.buf) == 0
	if !leads && g.done == nil {
		g.done = make(chan struct{})
	}
	g.buf = r.appendLine(g.buf)
	l.mu.Unlock()

	if leads {
		select {
		case l.turn <- struct{}{}:
			return l.lead(g)
		default:
		}
		select {
		case l.turn <- struct{}{}:
			return l.lead(g)
		case <-ctx.Done():
			// Others may have joined, so somebody must lead them.
			go func() {
				l.turn <- struct{}{}
				l.lead(g)
			}()
			return ctx.Err()
		}
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lead writes g, which is the waiting group, and gives the turn back.
func (l *Log) lead(g *group) error {
	l.mu.Lock()
	l.waiting, l.spare = l.spare, nil
	if l.waiting == nil {
		l.waiting = new(group)
	}
	l.mu.Unlock()

	err := l.write(g.buf)
	wake := err == nil && l.mode == SyncSecond && !l.dirty
	l.dirty = l.dirty || err == nil && l.mode == SyncSecond
	<-l.turn

	if wake {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
	if g.done != nil { // others hold g
		g.err = err
		close(g.done)
		return err
	}
	if cap(g.buf) <= maxSpare {
		g.buf = g.buf[:0]
		l.mu.Lock()
		l.spare = g
		l.mu.Unlock()
	}
	return err
}
