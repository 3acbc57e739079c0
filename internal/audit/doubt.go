package audit

import "slices"

// event takes an event line's word for what is not proven before it. The line itself is proven
// as every other.
func (v *verifier) event(l *line, o *own) {
	switch o.Event {
	case eventUnvouched:
		v.doubt(o.From, min(o.To, l.seq-1))
	case eventUnanchored:
		v.doubt(1, l.seq-1)
	case eventTailDiffers:
		v.doubt(1, l.seq-1)
		v.declare(BrokenOff, o.Detail)
	case eventForeign:
		v.declare(Foreign, o.Detail)
	case eventOlder:
		if l.seq > 1 { // a chain was there before
			v.declare(Foreign, o.Detail)
		}
	}
}

// doubt notes that somebody else may have written these lines, but for those that a checkpoint
// covers already. Those behind the event cover whatever was there, so they must not make a key
// trusted that was introduced here. keysetd introduces its keys anew after each start.
func (v *verifier) doubt(from, to uint64) {
	r := &v.report
	from = max(from, r.Covered+1, r.First)
	if from > to {
		return
	}
	if len(r.Unvouched) < maxTold {
		r.Unvouched = append(r.Unvouched, Span{from, to})
	}
	for kid, key := range v.known {
		if key.seq >= from && key.seq <= to && !v.trusted[kid] {
			delete(v.known, kid)
			delete(v.keys, kid)
		}
	}
}

// vouched takes the lines up to seq, which is the one that a head names, out of doubt where
// they are of the same start: a head that names a line before an event was made before it.
func (v *verifier) vouched(seq uint64) {
	r := &v.report
	for i, s := range r.Unvouched {
		if s.From <= seq && seq <= s.To {
			r.Unvouched[i].From = seq + 1
		}
	}
	r.Unvouched = slices.DeleteFunc(r.Unvouched, func(s Span) bool { return s.From > s.To })
}

// declare notes a fault that keysetd found itself.
func (v *verifier) declare(kind Kind, detail string) {
	if r := &v.report; len(r.Declared) < maxTold {
		r.Declared = append(r.Declared, Fault{kind, v.last.file, v.last.at, detail})
	}
}
