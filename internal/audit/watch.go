package audit

import (
	"fmt"
	"time"
)

// movedLimit is how long a file may be moved away before somebody is told that SIGHUP
// is missing.
const movedLimit = 10 * time.Second

// watch looks each second where the file is. One that was deleted is replaced, since what
// would be written to it is lost. One that was moved is logrotate's, until Reopen.
func (l *Log) watch() {
	var since time.Time // when it was seen to be moved
	told := false
	for {
		select {
		case <-time.After(time.Second):
		case <-l.life.Done():
			return
		}
		switch where, err := l.where(); {
		case err != nil:
			l.opts.Logger.Error("looking for the audit log's file", "path", l.path, "error", err)
		case where == deleted:
			l.replace()
		case where == here:
			since, told = time.Time{}, false
		case since.IsZero():
			since = time.Now()
		case !told && time.Since(since) >= movedLimit:
			told = true
			l.opts.Logger.Warn("the audit log's file was moved away and keysetd still writes to it; send SIGHUP after moving it", "path", l.path)
		}
	}
}

func (l *Log) where() (place, error) {
	l.syncing.Lock() // f is closed by nobody meanwhile
	defer l.syncing.Unlock()
	return l.f.Where()
}

// replace goes on in a new file at the path. Until there is one nothing can be written.
func (l *Log) replace() {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	last := l.end.head.Seq
	if err, _ := l.reopen(); err != nil {
		if l.gone == nil {
			l.opts.Logger.Error("the audit log's file was deleted, and no new one can be opened; nothing is signed until one can", "path", l.path, "error", err)
		}
		l.gone = err
		return
	}
	l.opts.Logger.Error("the audit log's file was deleted, with the lines in it; a new one goes on after them", "path", l.path, "last_seq", last)
	detail := fmt.Sprintf("the file before was deleted while it was written; its last line was %d", last)
	if err := l.put(event{name: eventDeleted, detail: detail}.append(nil, time.Now())); err != nil {
		l.opts.Logger.Error("writing to the new file of the audit log", "error", err)
	}
}
