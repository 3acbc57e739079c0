package audit

import (
	"strconv"
	"time"
)

// What an event line tells of the file.
const (
	// eventDeleted: the file before was deleted under the daemon.
	eventDeleted = "file_deleted"
	// eventMissing: at the start no line was in the file, and the chain goes on after the anchor.
	eventMissing = "file_missing"
	// eventUnvouched: lines From to To came after the anchor, so anybody may have written them.
	eventUnvouched = "unvouched"
	// eventUnanchored: there was no anchor, so nothing vouches for what no checkpoint covers.
	eventUnanchored = "unanchored"
	// eventTailDiffers: the anchored line is not there. The file was changed or cut.
	eventTailDiffers = "tail_differs"
	// eventForeign: what this line declares as torn is more than a write that was cut short can leave.
	eventForeign = "foreign"
	// eventOlder: what this line declares as torn was there before the first chain began.
	eventOlder = "older_log"
)

// event is what is to be written of the file.
type event struct {
	name     string
	from, to uint64 // of eventUnvouched
	detail   string
}

// append appends the body of the event's line.
func (e event) append(b []byte, now time.Time) []byte {
	b = append(appendTime(b, now), `,"event":"`...)
	b = append(append(b, e.name...), '"')
	if e.to > 0 {
		b = strconv.AppendUint(append(b, `,"from":`...), e.from, 10)
		b = strconv.AppendUint(append(b, `,"to":`...), e.to, 10)
	}
	b = appendString(append(b, `,"detail":`...), e.detail)
	return append(b, "}\n"...)
}

// tell logs the event, and has it written before the next line.
func (l *Log) tell(e event) {
	attrs := []any{"path", l.path, "event", e.name, "detail", e.detail}
	if e.name == eventTailDiffers || e.name == eventForeign {
		l.opts.Logger.Error("the audit log is not as keysetd left it", attrs...)
	} else {
		l.opts.Logger.Warn("the audit log is not proven to be as keysetd left it", attrs...)
	}
	l.pending = e.append(l.pending, time.Now())
}
