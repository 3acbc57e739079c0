package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// bufferLen is how many bytes are read ahead, and the size above which a
	// buffer for writing is not kept for the next frame.
	bufferLen = 64 << 10
	// firstStep is how much memory a length alone can make the reader take.
	firstStep = 64 << 10
)

// reader takes frames off a connection. Unlike bufio.Reader it keeps no copy of what
// was taken: every byte of buf outside buf[start:end] is zero, always, so that a PIN
// lives only in the body handed out, which its receiver clears.
type reader struct {
	src        io.Reader
	buf        []byte
	start, end int
}

func newReader(src io.Reader) *reader {
	return &reader{src: src, buf: make([]byte, bufferLen)}
}

// frame reads one frame. io.EOF is returned only between frames; a frame that is cut
// short gives io.ErrUnexpectedEOF, and one that cannot be a frame ErrFrame. After an
// error the reader holds nothing of what it had read.
func (r *reader) frame() (frame, error) {
	f, err := r.next()
	if err != nil {
		clear(r.buf)
		r.start, r.end = 0, 0
	}
	return f, err
}

func (r *reader) next() (frame, error) {
	var h [headerLen]byte
	if err := r.fill(h[:4]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(h[:4])
	if n < headerLen-4 || n > MaxFrame {
		return frame{}, fmt.Errorf("%w: length %d", ErrFrame, n)
	}
	if err := r.fill(h[4:]); err != nil {
		return frame{}, cutShort(err)
	}
	body, err := r.body(int(n) - (headerLen - 4))
	if err != nil {
		return frame{}, cutShort(err)
	}
	return frame{id: binary.BigEndian.Uint32(h[4:]), code: h[8], body: body}, nil
}

// body reads n bytes into memory of their own. It takes the memory as bytes arrive and
// clears what it outgrows.
func (r *reader) body(n int) ([]byte, error) {
	b := make([]byte, min(n, firstStep))
	if err := r.fill(b); err != nil {
		clear(b)
		return nil, err
	}
	for len(b) < n {
		grown := make([]byte, min(2*len(b), n))
		have := copy(grown, b)
		clear(b)
		if err := r.fill(grown[have:]); err != nil {
			clear(grown)
			return nil, err
		}
		b = grown
	}
	return b, nil
}

// fill fills p, as io.ReadFull does.
func (r *reader) fill(p []byte) error {
	for have := 0; have < len(p); {
		if r.start == r.end {
			if err := r.read(); err != nil {
				if have > 0 {
					err = noEOF(err)
				}
				return err
			}
		}
		n := copy(p[have:], r.buf[r.start:r.end])
		clear(r.buf[r.start : r.start+n])
		r.start += n
		have += n
	}
	return nil
}

// read reads at least one byte into the empty buffer.
func (r *reader) read() error {
	r.start, r.end = 0, 0
	for range 100 {
		n, err := r.src.Read(r.buf)
		if n > 0 {
			r.end = n
			return nil // an error comes again with the next read
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func cutShort(err error) error {
	return fmt.Errorf("a frame was cut short: %w", noEOF(err))
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
