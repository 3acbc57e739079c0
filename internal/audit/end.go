package audit

import (
	"cmp"
	"fmt"
)

// end judges what is left once all files are read.
func (v *verifier) end() {
	r := &v.report
	say := func(format string, args ...any) { r.Unproven = append(r.Unproven, fmt.Sprintf(format, args...)) }
	if x := v.suspect; x != nil {
		if x.readable || x.ends || x.behind > 0 {
			x.blame(v)
			return
		}
		// Written at this moment, or cut short by a crash that nobody has come back from yet.
		say("the last file ends in the middle of a line (%d bytes), which proves nothing", x.torn.bytes)
	}
	if v.odd != nil {
		v.headDiffers()
		return
	}
	for _, h := range v.heads {
		if !v.headProven(h) {
			return
		}
	}
	if r.Covered == 0 && (len(v.heads) > 0 || len(v.opts.KIDs) > 0) {
		v.fault(Unproven, v.where(), "no checkpoint in these files proves any of their lines")
		return
	}
	v.unproven(say)
}

// unproven says what was not proven of a log without a fault.
func (v *verifier) unproven(say func(string, ...any)) {
	r := &v.report
	switch {
	case r.Lines == 0:
		say("there is no line of a chain")
		return
	case r.First > 1:
		say("line 1 to %d are not in these files", r.First-1)
	}
	for _, s := range r.Unvouched {
		say("lines %d to %d were in the file when keysetd started, and nothing tells whether it wrote them", s.From, s.To)
	}
	if r.Covered < r.Last {
		say("%d lines after line %d are not covered by a checkpoint yet: nobody can tell whether they are as they were written", r.Last-max(r.Covered, r.First-1), r.Covered)
	}
	if len(v.heads) == 0 {
		say("no head was given (--head, a checkpoint from the journal): a cut tail would not be found")
	}
	if len(v.opts.KIDs) == 0 && len(r.Keys) > 0 {
		say("no key was given (--kid): key %s is taken on the log's own word", r.Keys[0].KID)
	}
}

// where is the last line, or where the first should be.
func (v *verifier) where() placed {
	if v.last.file != "" || len(v.report.Files) == 0 {
		return v.last
	}
	return placed{file: v.report.Files[0], at: 1}
}

// headDiffers tells that another line stands where a head's should be.
func (v *verifier) headDiffers() error {
	h := v.odd
	if v.known[h.kid] != nil {
		if err := h.verify(v.keys); err != nil {
			return v.fault(BadCheckpoint, h.odd, "the head: %v", err)
		}
	}
	return v.fault(Rewritten, h.odd, "this is not the line %d that the head names: it or one before it, after line %d, was changed and chained anew; or the head is of another log", h.odd.Seq, v.report.Covered)
}

// headProven judges a head that was given, and notes the fault.
func (v *verifier) headProven(h *givenHead) bool {
	r := &v.report
	switch {
	case v.known[h.kid] != nil && h.verify(v.keys) != nil:
		v.fault(BadCheckpoint, v.where(), "the head: %v", h.verify(v.keys))
		return false
	case h.head.Seq > r.Last:
		v.fault(Cut, v.where(), "the log ends with line %d, and the head names line %d", r.Last, h.head.Seq)
		return false
	case !h.seen:
		v.fault(Missing, v.where(), "the head names line %d, and these files begin with line %d, so it proves nothing of them; give the file that holds that line as well, or a later head", h.head.Seq, r.First)
		return false
	case v.known[h.kid] == nil || len(v.trusted) > 0 && !v.trusted[h.kid]:
		v.fault(UnknownKey, v.where(), "the head is by key %q, for which no trusted key in these files vouches", h.kid)
		return false
	}
	if installation := cmp.Or(r.Installation, h.claims.Installation); installation != h.claims.Installation {
		v.fault(BadCheckpoint, v.where(), "the head is of installation %q, the log of %q", h.claims.Installation, installation)
		return false
	}
	if len(r.Keys) == 0 {
		r.Keys = append(r.Keys, Key{KID: h.kid})
	}
	r.Head, r.Covered = max(r.Head, h.head.Seq), max(r.Covered, h.head.Seq)
	v.vouched(h.head.Seq)
	return true
}
