package audit

import (
	"bytes"
	"fmt"
	"io"
)

// begin tells after which line a file is gone on with, and what there is to be said of it.
// It must hold the anchored line, or go on from it; what stands behind that is what a crash
// leaves, or what somebody wrote while no daemon ran: nobody can tell these apart.
func begin(f io.ReaderAt, size int64, anchored Head, keeps bool) (tail, []event, error) {
	if anchored.Seq > 0 {
		line, behind, found, err := findLine(f, size, anchored)
		if err != nil {
			return tail{}, nil, err
		}
		if found {
			return goOn(f, size, anchored, line, behind)
		}
	}
	t, err := findTail(f, size)
	switch {
	case err != nil:
		return tail{}, nil, err
	case anchored.Seq > 0:
		return t.unlike(anchored)
	case t.head.Seq == 0 && t.torn.foreign():
		return t, []event{{name: eventOlder, detail: fmt.Sprintf("no chain was there before; the %d bytes that this line declares are of an older keysetd, or somebody else's", t.torn.bytes)}}, nil
	}
	events := t.torn.events()
	if t.head.Seq > 0 && keeps {
		events = append(events, event{name: eventUnanchored, detail: fmt.Sprintf("there is no note of where the log ended; that is so at the first start after an upgrade, or where the store's folder is another; it ends with line %d", t.head.Seq)})
	}
	return t, events, nil
}

// goOn follows the chain from the anchored line, or the one behind it.
func goOn(f io.ReaderAt, size int64, anchored, line Head, behind int64) (tail, []event, error) {
	t, err := follow(f, behind, size, line)
	if err != nil {
		return tail{}, nil, err
	}
	events := t.torn.events()
	if t.head.Seq > anchored.Seq {
		events = append(events, event{eventUnvouched, anchored.Seq + 1, t.head.Seq, "these lines are behind the last one that keysetd noted; a crash leaves them, and anybody may have written them"})
	}
	return t, events, nil
}

// unlike judges a file in which the anchored line is not. One without any line is a new one.
func (t tail) unlike(anchored Head) (tail, []event, error) {
	wanted := fmt.Sprintf("line %d with the hash %s", anchored.Seq, anchored.prev())
	switch {
	case t.head.Seq > 0:
		return t, []event{{name: eventTailDiffers, detail: fmt.Sprintf("keysetd left %s, which is not there; the last line that was found is %d with the hash %s", wanted, t.head.Seq, t.head.prev())}}, nil
	case t.torn.foreign():
		t.head = anchored
		return t, []event{{name: eventTailDiffers, detail: fmt.Sprintf("keysetd left %s, and no line of a chain was found; the chain goes on after that line", wanted)}}, nil
	}
	t.head = anchored
	return t, []event{{name: eventMissing, detail: "no line was in the file; the chain goes on after " + wanted}}, nil
}

// foreign reports whether this is more than writes that were cut short leave: a group's lines
// that are whole are of the chain, so each leaves the beginning of the next line.
func (t *torn) foreign() bool { return t.bytes > maxLine || t.breaks && t.strange }

func (t *torn) events() []event {
	if !t.foreign() {
		return nil
	}
	return []event{{name: eventForeign, detail: fmt.Sprintf("the %d bytes that this line or the one before it declares are more than a line that was cut short; lines may have been overwritten", t.bytes)}}
}

// findLine finds the line want, or the one that goes on from it if no other stands before
// that, and where it ends.
func findLine(r io.ReaderAt, size int64, want Head) (line Head, behind int64, found bool, err error) {
	is, follows := fmt.Appendf(nil, `{"seq":%d,`, want.Seq), fmt.Appendf(nil, `{"seq":%d,`, want.Seq+1)
	err = backwards(r, size, func(text []byte, end int64) (done bool) {
		if !found && !bytes.HasPrefix(text, is) && !bytes.HasPrefix(text, follows) {
			return false
		}
		l, ok := parse(text)
		switch {
		case !ok:
			return false
		case l.head == want:
			line, behind, found = want, end, true
			return true
		case found: // the line behind it is not
			found = false
			return true
		case l.follows(want):
			line, behind, found = l.head, end, true
		}
		return false
	})
	return line, behind, found, err
}

// follow follows the chain from a line that ends at at. What stands behind its last line is torn.
func follow(r io.ReaderAt, at, size int64, from Head) (tail, error) {
	t := tail{head: from}
	if at > 0 && at == size {
		var err error
		t.open, err = open(r, size)
		return t, err
	}
	err := scanLines(io.NewSectionReader(r, at, size-at), "", func(s scanned) error {
		l, ok := parse(s.text)
		if ok && !s.more && l.follows(t.head) && l.torn == t.torn.bytes && l.tornHash == t.torn.hash() {
			t = tail{head: l.head}
		} else {
			t.skip(s)
		}
		t.open = !s.ends
		return nil
	})
	return t, err
}
