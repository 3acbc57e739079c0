package audit

import (
	"bytes"
	"io"
	"strconv"
)

// tail is how a file ends.
type tail struct {
	head Head // of its last line of the chain; zero where it has none
	torn torn // what stands behind that
	open bool // it does not end in a newline
}

// window is how much of a file is looked at in one piece when a line is searched.
const window = 2 * maxLine

// findTail reads how the file ends, from its end backwards.
func findTail(r io.ReaderAt, size int64) (tail, error) {
	var t tail
	behind := int64(0) // where the last line of the chain ends
	err := backwards(r, size, func(text []byte, end int64) (done bool) {
		l, ok := parse(text)
		if ok {
			t.head, behind = l.head, end
		}
		return ok
	})
	if err == nil {
		t.open, err = open(r, size)
	}
	if err == nil {
		err = t.addFrom(r, behind, size)
	}
	return t, err
}

// open reports whether a file ends without a newline.
func open(r io.ReaderAt, size int64) (bool, error) {
	if size == 0 {
		return false, nil
	}
	var last [1]byte
	if _, err := r.ReadAt(last[:], size-1); err != nil && err != io.EOF {
		return false, err
	}
	return last[0] != '\n', nil
}

// backwards hands the lines of r to each, the last one first, without their newlines and with
// where they end. Of a line that is longer than any can be, it hands over a piece or none.
func backwards(r io.ReaderAt, size int64, each func(text []byte, end int64) (done bool)) error {
	buf := make([]byte, window)
	for end := size; end > 0; {
		start := max(end-window, 0)
		piece := buf[:end-start]
		if _, err := r.ReadAt(piece, start); err != nil && err != io.EOF {
			return err
		}
		stop := len(piece) // end of the line that is looked at, with its newline
		for stop > 0 {
			begin := bytes.LastIndexByte(piece[:stop-1], '\n') + 1
			if begin == 0 && start > 0 {
				break // it may begin before the window
			}
			if each(bytes.TrimSuffix(piece[begin:stop], []byte{'\n'}), start+int64(stop)) {
				return nil
			}
			stop = begin
		}
		if stop == len(piece) { // one line fills the window, and is too long
			stop = 0
		}
		end = start + int64(stop)
	}
	return nil
}

// addFrom takes what r holds from at to size as torn.
func (t *tail) addFrom(r io.ReaderAt, at, size int64) error {
	return scanLines(io.NewSectionReader(r, at, size-at), "", func(s scanned) error {
		t.skip(s)
		return nil
	})
}

// skip takes a line as torn.
func (t *tail) skip(s scanned) {
	next := append(strconv.AppendUint([]byte(`{"seq":`), t.head.Seq+1, 10), `,"prev":"`...)
	n := min(len(s.text), len(next))
	t.torn.strange = t.torn.strange || !bytes.Equal(s.text[:n], next[:n])
	t.torn.add(s.text)
	t.torn.breaks = t.torn.breaks || s.ends && t.torn.bytes > 0
	t.open = !s.ends
}

// foreign is the end of f, none of whose lines is the chain's: they are declared with what
// was torn at the end of the file before.
func (l *Log) foreign(f file) (tail, error) {
	t := tail{head: l.end.head, torn: l.end.torn}
	size, err := f.Size()
	if err == nil {
		err = t.addFrom(f, 0, size)
	}
	return t, err
}
