package audit

import (
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// VerifyOptions is what somebody knows about a log from elsewhere.
type VerifyOptions struct {
	// Heads are checkpoints that were kept outside the log, such as the last one in the journal; each
	// must hold. Without one nobody can tell whether lines are missing at the end.
	Heads []string
	// KIDs are thumbprints of audit keys that are trusted. Without one the key of the first
	// checkpoint is taken on the log's word.
	KIDs []string
}

// Verify reads the files of a log, oldest first whatever their order here, and reports what
// is proven and the first fault. The error says that a file cannot be read. Memory does not
// grow with the files.
func Verify(paths []string, opts VerifyOptions) (*Report, error) {
	paths, err := inOrder(paths)
	if err != nil {
		return nil, err
	}
	v := &verifier{
		report: Report{Files: paths, Keys: []Key{}}, known: make(map[string]*introduced),
		keys: make(map[string]*jose.JSONWebKey), trusted: make(map[string]bool), opts: opts,
	}
	for _, kid := range opts.KIDs {
		v.trusted[kid] = true
	}
	for _, compact := range opts.Heads {
		c, err := readCheckpoint(compact)
		if err != nil {
			return nil, fmt.Errorf("reading the head %q, which must be the compact JWS behind \"checkpoint\": %w", compact, err)
		}
		v.heads = append(v.heads, &givenHead{checkpoint: c})
	}
	for _, path := range paths {
		v.first = true
		if err := scan(path, v.line); err != nil && !errors.Is(err, errFault) {
			return nil, err
		}
		if v.report.Fault != nil {
			return &v.report, nil
		}
	}
	v.end()
	if r := &v.report; r.Fault == nil && len(r.Declared) > 0 {
		r.Fault = &r.Declared[0]
	}
	return &v.report, nil
}

// errFault ends the reading: a fault was found.
var errFault = errors.New("a fault")

// verifier follows the chain through the files.
type verifier struct {
	report Report
	opts   VerifyOptions
	heads  []*givenHead
	odd    *givenHead // the first in whose place another line stands

	last    placed   // the last line of the chain
	before  Head     // the line before it
	recent  recent   // hashes of the last lines
	suspect *suspect // since a line that does not follow
	first   bool     // the next line is the first of its file

	known   map[string]*introduced // by kid
	keys    map[string]*jose.JSONWebKey
	trusted map[string]bool
}

// givenHead is a checkpoint from elsewhere.
type givenHead struct {
	*checkpoint
	seen bool   // the line that it names
	odd  placed // the line that stands there, where that is another
}

// introduced is an audit key.
type introduced struct{ seq uint64 } // of the line

// placed is a line of the chain and where it stands.
type placed struct {
	Head
	file string
	at   int
}

// line follows the chain by one line of a file.
func (v *verifier) line(s scanned) error {
	l, ok := parse(s.text)
	ok = ok && !s.more
	first := v.first
	v.first = false
	switch {
	case v.suspect != nil:
		if !v.suspect.next(v, s, &l, ok) {
			return nil
		}
		if l.torn == 0 || l.torn != v.suspect.torn.bytes || l.tornHash != v.suspect.torn.hash() {
			v.suspect.follower, v.suspect.declares = &placed{l.head, s.file, s.at}, l.torn > 0
			return nil
		}
		v.declared(s, l.torn)
	case !ok || !v.follows(&l), l.torn > 0 && v.last.Seq > 0:
		v.suspect = newSuspect(v, s, &l, ok, first)
		return nil
	case l.torn > 0: // at the end of a file that is not here
		v.declared(s, l.torn)
	}
	v.suspect = nil
	return v.accept(s, &l)
}

func (v *verifier) declared(s scanned, bytes int64) {
	if len(v.report.Torn) < maxTold {
		v.report.Torn = append(v.report.Torn, Torn{s.file, s.at, bytes})
	}
}

// follows reports whether l is the next line of the chain. The first of all may have any number.
func (v *verifier) follows(l *line) bool { return v.last.Seq == 0 || l.follows(v.last.Head) }

// accept takes l as the next line.
func (v *verifier) accept(s scanned, l *line) error {
	if v.odd != nil {
		return v.headDiffers()
	}
	r := &v.report
	if r.Lines == 0 {
		r.First, r.From = l.seq, l.time()
		v.recent.before(l)
	}
	r.Lines++
	r.Last, r.To = l.seq, l.time()
	v.before, v.last = v.last.Head, placed{l.head, s.file, s.at}
	v.recent.add(l.head)
	for _, h := range v.heads {
		if h.head.Seq != l.seq {
			continue
		}
		if h.seen = h.head == l.head; !h.seen {
			h.odd, v.odd = v.last, h // unless the next line tells what is wrong
		}
	}
	o, ok := l.ownLine()
	switch {
	case !ok:
		return nil
	case o.Checkpoint != "":
		return v.checkpoint(o.Checkpoint)
	case o.Event != "":
		v.event(l, &o)
		return nil
	}
	key, kid, err := readKey(o.AuditKey)
	if err != nil {
		return v.fault(BadCheckpoint, v.last, "the audit key in this line is none: %v", err)
	}
	if v.known[kid] == nil {
		v.known[kid], v.keys[kid] = &introduced{l.seq}, key
	}
	return nil
}

// fault notes the first fault.
func (v *verifier) fault(kind Kind, where placed, format string, args ...any) error {
	v.report.Fault = &Fault{kind, where.file, where.at, fmt.Sprintf(format, args...)}
	return errFault
}
