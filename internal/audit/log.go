// Package audit writes the audit log, and verifies it: one line of JSON for each act that
// was granted, refused or failed. An act's line is written before its result leaves the
// daemon; where it cannot be written, the result does not leave.
//
// Each line names the hash of the line before (Head), and checkpoints, signed on the token,
// name the last line (Sealer). docs/audit.md describes the file.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// Sealer signs checkpoints. Nil: there are none.
	Sealer Sealer
	// Every is how often a checkpoint is made, if lines were written since the last one.
	// Zero: each minute.
	Every time.Duration
	// Installation is named in checkpoints, so that logs are not taken for one another.
	Installation string
	// Anchor is the path of a small file, outside the log's folder, that says where the log
	// ended. A log that is not as it says was changed while no daemon ran. Empty: there is none,
	// and whatever the file holds at the start is gone on with.
	Anchor string
	// Others are paths of files that the log must not be, such as the store.
	Others []string
	// Logger is told checkpoints and what becomes of the file. Nil: nobody is.
	Logger *slog.Logger
}

// maxSpare is the largest buffer that is kept for the next group.
const maxSpare = 64 << 10

// ErrClosed means that Close was called.
var ErrClosed = errors.New("the audit log is closed")

// Log is an open audit log. It is safe for concurrent use.
//
// Lines are written in groups. The first to join a group leads it: it waits for its turn
// at the file, while others join, and then writes the whole group with one write(2). So a
// lone caller pays for a write and nothing else, and many callers share one. The leader
// chains the lines, since only it knows which line is the last.
type Log struct {
	path string
	opts Options
	open opener

	mu      sync.Mutex // guards what follows; never held during I/O
	waiting *group     // those who joined and whose leader has not had its turn
	spare   *group     // for the next group, to save the allocation
	refused map[uint32]*refusals
	late    time.Time // since when a checkpoint is due that cannot be made; or zero
	closed  bool

	// turn holds one token; who has taken it may use what follows.
	turn       chan struct{}
	f          file
	end        tail            // of f
	out        []byte          // the last group as it was written
	dirty      bool            // written since the last sync began
	syncErr    error           // of the last sync, until one succeeds
	gone       error           // why there is no new file in the place of one that was deleted
	covered    uint64          // lines up to this one need no checkpoint any more
	introduced map[string]bool // the audit keys that this file knows, by kid
	pending    []byte          // bodies of events that the next lines come behind

	sealing  chan struct{} // holds one token: who makes a checkpoint
	syncing  sync.Mutex    // held during a sync beside the turn, so that f is not closed meanwhile
	anchored Head          // as the anchor has it; guarded by syncing, as is the next
	adrift   bool          // the anchor could not be written

	counts
	kick    chan struct{} // wakes the syncer when the file became dirty
	life    context.Context
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// group is lines that are written together.
type group struct {
	buf  []byte
	done chan struct{} // closed once err is set; nil where the leader is alone
	err  error
}

// Open opens or creates the log at path, mode 0600, and goes on after its last line. A
// line that a crash cut short is left as it is, ended, and declared by the next. Where the
// file is missing or empty, the chain goes on after the anchor, or begins. What the anchor
// does not vouch for is told by an event line.
func Open(path string, opts Options) (*Log, error) {
	return openWith(path, opts, func(path string) (file, error) { return openFile(path, opts.Others) })
}

func openWith(path string, opts Options, open opener) (*Log, error) {
	opts.Sync = cmp.Or(opts.Sync, SyncSecond)
	opts.Every = cmp.Or(opts.Every, time.Minute)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Sync != SyncSecond && opts.Sync != SyncAlways {
		return nil, fmt.Errorf("audit sync is neither %s nor %s", SyncSecond, SyncAlways)
	}
	anchored, err := readAnchor(opts.Anchor)
	if err != nil {
		return nil, err
	}
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	var end tail
	var events []event
	size, err := f.Size()
	if err == nil {
		end, events, err = begin(f, size, anchored, opts.Anchor != "")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading how the audit log %s ends: %w", path, err)
	}
	l := &Log{
		path: path, opts: opts, open: open, f: f, end: end, anchored: anchored,
		waiting: new(group), refused: make(map[uint32]*refusals),
		turn: make(chan struct{}, 1), sealing: make(chan struct{}, 1), kick: make(chan struct{}, 1),
	}
	l.life, l.stop = context.WithCancel(context.Background())
	for _, e := range events {
		l.tell(e)
	}
	if err := l.putPending(); err != nil {
		opts.Logger.Error("the audit log cannot be written", "error", err)
	}
	if l.syncsLater() {
		l.stopped.Go(l.syncEverySecond)
	}
	if opts.Sealer != nil {
		l.stopped.Go(l.sealEvery)
	}
	l.stopped.Go(l.watch)
	return l, nil
}

// Append writes r and returns once its line is in the file, or on the disk with
// SyncAlways. On an error the act's result must not leave the daemon: the line is not
// there, or cannot be trusted to last. The end of ctx ends the wait, not the writing: the
// line may then be written all the same.
//
// After a refusal, further ones of the same uid within a second are counted and become one
// line at its end; for those Append returns at once. What was granted or failed always has
// a line of its own: a signature that failed may have been made, and its line has the digest.
func (l *Log) Append(ctx context.Context, r Record) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	if r.Outcome == Refused && l.count(&r) {
		l.mu.Unlock()
		return nil
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

	err := l.put(g.buf)
	<-l.turn

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
