package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// scanned is one line of a file as it stands there.
type scanned struct {
	file string
	at   int // its number, from 1
	// text is the line without its newline, or the piece of a line that is longer than any can
	// be. It is overwritten by the next.
	text []byte
	ends bool // with a newline
	more bool // the next text belongs to the same line
}

// scan hands the lines of one file to each, with bounded memory.
func scan(path string, each func(scanned) error) (err error) {
	r, err := openLog(path)
	if err != nil {
		return fmt.Errorf("reading an audit log: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return scanLines(r, path, each)
}

// scanLines hands the lines of r, which is the file path, to each.
func scanLines(r io.Reader, path string, each func(scanned) error) error {
	b := bufio.NewReaderSize(r, maxLine+1)
	for at, more := 1, false; ; {
		text, err := b.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return fmt.Errorf("reading the audit log %s, line %d: %w", path, at, err)
		}
		s := scanned{file: path, at: at, text: text, more: err == bufio.ErrBufferFull}
		s.text, s.ends = bytes.CutSuffix(text, []byte{'\n'})
		if len(text) > 0 {
			if more { // the end of a line that is none
				s.more = true
			}
			if err := each(s); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if more = err == bufio.ErrBufferFull; !more {
			at++
		}
	}
}

// logReader closes what it reads from.
type logReader struct {
	io.Reader
	io.Closer
}

// openLog opens a log file, which logrotate may have compressed by gzip.
func openLog(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := bufio.NewReader(f)
	if magic, _ := b.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return logReader{b, f}, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return logReader{z, f}, nil
}

var errFound = errors.New("found")

// inOrder sorts files by the numbers of the first two lines in each that follow one another,
// so that one changed number does not mislead; those without any come last.
func inOrder(paths []string) ([]string, error) {
	first := make(map[string]uint64)
	for _, path := range paths {
		first[path] = math.MaxUint64
		var last uint64
		err := scan(path, func(s scanned) error {
			l, ok := parse(s.text)
			switch {
			case !ok || s.more:
				return nil
			case last > 0 && l.seq == last+1:
				first[path] = last
				return errFound
			case last == 0:
				first[path] = l.seq
			}
			last = l.seq
			return nil
		})
		if err != nil && !errors.Is(err, errFound) {
			return nil, err
		}
	}
	paths = slices.Clone(paths)
	slices.SortStableFunc(paths, func(a, b string) int { return cmp.Compare(first[a], first[b]) })
	return paths, nil
}
