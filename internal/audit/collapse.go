package audit

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Bounds of what is kept of refusals. A uid beyond maxUIDs has a line for each; reasons
// beyond maxReasons are counted together, as "other".
const (
	maxUIDs    = 256
	maxReasons = 16
	maxReason  = 64 // bytes of a reason's word
)

// refusals are those of one uid within one second, after the first.
type refusals struct {
	tally
	timer *time.Timer
}

// tally is what becomes one line.
type tally struct {
	count   int
	reasons map[string]int
	since   time.Time // of the first
	last    []byte    // the body of the last
}

// count counts r, if it is not the first of its uid within a second. l.mu is held.
func (l *Log) count(r *Record) bool {
	uid := r.Caller.UID
	w := l.refused[uid]
	if w != nil {
		w.add(r)
		return true
	}
	if len(l.refused) < maxUIDs {
		w = new(refusals)
		w.timer = time.AfterFunc(time.Second, func() { l.endSecond(uid, w) })
		l.refused[uid] = w
	}
	return false
}

func (t *tally) add(r *Record) {
	if t.count == 0 {
		t.since, t.reasons = r.Time, make(map[string]int)
	}
	t.count++
	reason := r.Reason[:min(len(r.Reason), maxReason)]
	if _, known := t.reasons[reason]; !known && len(t.reasons) >= maxReasons {
		reason = "other"
	}
	t.reasons[reason]++
	t.last = r.appendBody(t.last[:0])
}

// before puts t, which could not be written, before what was counted since.
func (t tally) before(later tally) tally {
	if later.count == 0 {
		return t
	}
	t.count += later.count
	for reason, n := range later.reasons {
		t.reasons[reason] += n
	}
	t.last = later.last
	return t
}

// line is the last refusal with the count of all.
func (t *tally) line() []byte {
	b := append(t.last, `,"count":`...)
	b = strconv.AppendInt(b, int64(t.count), 10)
	b = append(b, `,"since":"`...)
	b = t.since.UTC().AppendFormat(b, timeLayout)
	b = append(b, `","reasons":`...)
	for i, reason := range slices.Sorted(maps.Keys(t.reasons)) {
		b = append(b, "{,"[min(i, 1)])
		b = append(appendString(b, reason), ':')
		b = strconv.AppendInt(b, int64(t.reasons[reason]), 10)
	}
	return append(b, "}}\n"...)
}

// endSecond writes what was counted of a uid in the second that ends now. While refusals go
// on, so do the seconds.
func (l *Log) endSecond(uid uint32, w *refusals) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.mu.Lock()
	if w.count == 0 {
		delete(l.refused, uid)
	}
	over := l.closed || w.count == 0 // Close writes what is left
	l.mu.Unlock()
	if over {
		return
	}
	if err := l.putCounted(w); err != nil {
		l.opts.Logger.Error("counted refusals could not be written to the audit log yet", "uid", uid, "error", err)
	}
	w.timer.Reset(time.Second)
}

// putCounted writes what was counted, and keeps it where that fails. It has the turn.
func (l *Log) putCounted(w *refusals) error {
	l.mu.Lock()
	counted := w.tally
	w.tally = tally{}
	l.mu.Unlock()
	if counted.count == 0 {
		return nil
	}
	err := l.put(counted.line())
	if err != nil {
		l.mu.Lock()
		w.tally = counted.before(w.tally)
		l.mu.Unlock()
	}
	return err
}

// writeCounted writes all that was counted, at the end. Append counts nothing any more.
func (l *Log) writeCounted() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	for _, w := range l.refused {
		if err := l.putCounted(w); err != nil {
			return err
		}
	}
	return nil
}
