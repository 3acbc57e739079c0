package audit

import (
	"bytes"
	"io"
)

// tail is how a file ends.
type tail struct {
	head Head // of its last line of the chain; zero where it has none
	torn torn // what stands behind that
	open bool // it does not end in a newline
}

// window is how much of a file is looked at in one piece when its last line is searched.
const window = 2 * maxLine

// findTail reads how the file ends, from its end backwards.
func findTail(r io.ReaderAt, size int64) (tail, error) {
	var t tail
	behind := int64(0) // where the last line of the chain ends
	buf := make([]byte, window)
	for end, last := size, true; end > 0; last = false {
		start := max(end-window, 0)
		piece := buf[:end-start]
		if _, err := r.ReadAt(piece, start); err != nil && err != io.EOF {
			return tail{}, err
		}
		if last {
			t.open = piece[len(piece)-1] != '\n'
		}
		stop := len(piece) // end of the line that is looked at, with its newline
		for stop > 0 {
			begin := bytes.LastIndexByte(piece[:stop-1], '\n') + 1
			if begin == 0 && start > 0 {
				break // it may begin before the window
			}
			if l, ok := parse(bytes.TrimSuffix(piece[begin:stop], []byte{'\n'})); ok {
				t.head, behind = l.head, start+int64(stop)
				break
			}
			stop = begin
		}
		if behind > 0 {
			break
		}
		if stop == len(piece) { // one line fills the window, and is too long
			stop = 0
		}
		end = start + int64(stop)
	}
	_, err := t.torn.addFrom(r, behind, size)
	return t, err
}

// addFrom counts what r holds from at to size, and tells whether that ends without a newline.
func (t *torn) addFrom(r io.ReaderAt, at, size int64) (open bool, err error) {
	buf := make([]byte, min(window, size-at))
	for at < size {
		piece := buf[:min(window, size-at)]
		if _, err := r.ReadAt(piece, at); err != nil && err != io.EOF {
			return false, err
		}
		t.add(piece)
		at += int64(len(piece))
		open = piece[len(piece)-1] != '\n'
	}
	return open, nil
}

// foreign is the end of f, none of whose lines is the chain's: they are declared with what
// was torn at the end of the file before.
func (l *Log) foreign(f file) (tail, error) {
	t := tail{head: l.end.head, torn: l.end.torn}
	size, err := f.Size()
	if err != nil || size == 0 {
		return t, err
	}
	t.open, err = t.torn.addFrom(f, 0, size)
	return t, err
}
