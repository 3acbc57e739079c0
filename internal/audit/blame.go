package audit

// suspect is a line that does not follow the one before, and what those behind it tell.
// It ends well where the next line of the chain declares all since to be torn. Else it is a
// fault, and the rest of the log is read only to name it.
type suspect struct {
	placed          // the line itself; its Head only where it can be read
	prev     string // that it names
	readable bool
	first    bool // in its file, and begins a chain
	ends     bool // the last line since ends with a newline
	torn     torn // all since
	behind   int  // lines that were seen behind it
	followed int  // which of them is the follower

	chained  bool    // the next line that can be read goes on from this one
	asked    bool    // there is such a line
	declarer *placed // the line that declares all before it as torn, though it does not follow
	odd      bool    // the line behind the declarer names another one
	twin     bool    // the same line is there again
	follower *placed // the line that goes on from where the chain was
	declares bool    // the follower declares another torn piece
	refuted  bool    // the line behind the follower names another one
}

func newSuspect(v *verifier, s scanned, l *line, ok, first bool) *suspect {
	x := &suspect{placed: placed{l.head, s.file, s.at}, readable: ok, ends: s.ends}
	if ok {
		x.prev = l.prev
		x.first = first && l.seq == 1 && l.prev == ""
		if v.follows(l) { // it declares what is not there
			x.follower = &x.placed
		}
	}
	x.torn.add(s.text)
	return x
}

// next looks at a line behind. It returns true for the first that follows the chain.
func (x *suspect) next(v *verifier, s scanned, l *line, ok bool) bool {
	if !s.more || s.ends {
		x.behind++
	}
	if ok && x.follower == nil && v.follows(l) {
		x.followed = x.behind
		return true
	}
	if x.follower != nil && x.behind == x.followed+1 {
		x.refuted = !ok || !l.follows(x.follower.Head)
	}
	switch {
	case !ok || x.readable:
	case x.declarer != nil && !x.asked:
		x.asked, x.odd = true, !l.follows(x.declarer.Head)
	case x.declarer == nil && l.torn == x.torn.bytes && l.tornHash == x.torn.hash():
		x.declarer = &placed{l.head, s.file, s.at}
	}
	if ok && x.readable {
		x.chained = x.chained || !x.asked && l.follows(x.Head)
		x.asked = true
		x.twin = x.twin || l.head == x.Head
	}
	x.torn.add(s.text)
	x.ends = s.ends
	return false
}

// blame names the fault.
func (x *suspect) blame(v *verifier) error {
	a, next := v.last, v.last.Seq+1
	switch {
	case x.follower == &x.placed:
		return v.fault(Changed, x.placed, "line %d declares a torn piece before it that is not there", x.Seq)
	case x.follower != nil && x.declares && x.refuted:
		return v.fault(Changed, *x.follower, "line %d declares a torn piece before it that is another, and the next line names another than this", x.follower.Seq)
	case x.follower != nil && !x.readable && (x.declares || a.Seq == 0 && x.follower.Seq > 1):
		return v.fault(Changed, x.placed, "what is here is not what was when line %d was written, at %s:%d", x.follower.Seq, x.follower.file, x.follower.at)
	case !x.readable && x.follower != nil:
		return v.fault(Inserted, x.placed, "this is no line of the chain, which goes on with line %d at %s:%d", x.follower.Seq, x.follower.file, x.follower.at)
	case x.declarer != nil && x.declarer.Seq > next:
		return v.fault(Missing, x.placed, "%d lines are missing before this torn piece, %d to %d", x.declarer.Seq-next, next, x.declarer.Seq-1)
	case x.declarer != nil && x.declarer.Seq == next && x.odd:
		return v.fault(Changed, *x.declarer, "line %d names another line before it than the one that is there, and the next line names another than this", next)
	case x.declarer != nil && x.declarer.Seq == next:
		return v.fault(Changed, a, "line %d is not the one that line %d names as the one before it", a.Seq, next)
	case !x.readable:
		return v.fault(Changed, x.placed, "this should be line %d and cannot be read", next)
	case x.first:
		return v.fault(Restarted, x.placed, "a new chain begins here, after line %d; whether lines are missing between them cannot be told", a.Seq)
	case v.report.Lines == 1 && x.chained && x.Seq < a.Seq:
		return v.fault(Changed, a, "line %d stands behind it, which does not name it as the one before", x.Seq)
	case x.Seq == next && x.follower != nil:
		return v.fault(Inserted, x.placed, "it passes itself off as line %d, which is at %s:%d", next, x.follower.file, x.follower.at)
	case x.Seq == next && (x.chained || !x.asked):
		return v.fault(Changed, a, "line %d is not the one that line %d names as the one before it", a.Seq, x.Seq)
	case x.Seq == next:
		return v.fault(Changed, x.placed, "line %d names another line before it than the one that is there, and the next line names another than this", x.Seq)
	case x.prev == a.prev():
		return v.fault(Changed, x.placed, "this should be line %d and says %d", next, x.Seq)
	case x.Seq == a.Seq && x.Head != a.Head && x.prev == v.before.prev() && (x.chained || !x.asked):
		return v.fault(Inserted, a, "it passes itself off as line %d, which stands behind it", a.Seq)
	case x.Seq <= a.Seq && (x.follower != nil || x.Head == a.Head):
		return v.fault(Inserted, x.placed, "a line %d was there before, and the chain goes on without this one", x.Seq)
	case x.Seq <= a.Seq:
		return v.fault(Reordered, x.placed, "line %d stands where line %d should be", x.Seq, next)
	case x.follower != nil && x.twin:
		return v.fault(Inserted, x.placed, "line %d is here and in its own place", x.Seq)
	case x.follower != nil:
		return v.fault(Reordered, x.placed, "line %d stands where line %d should be, which is at %s:%d", x.Seq, next, x.follower.file, x.follower.at)
	}
	return v.fault(Missing, x.placed, "%d lines are missing before it, %d to %d", x.Seq-next, next, x.Seq-1)
}
