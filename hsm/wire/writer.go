package wire

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// writePatience is how long a caller stays with a write that does not go through. After
// it the frame is finished in the background and the caller only waits for its reply,
// so that the caller's context counts even when the worker no longer reads.
const writePatience = 100 * time.Millisecond

// writer writes one frame at a time.
type writer struct {
	conn io.Writer
	// deadline is nil where conn has none; writes then block as long as conn does.
	deadline interface{ SetWriteDeadline(time.Time) error }
	busy     chan struct{} // holds a token while a frame is written
	buf      []byte        // what the frames are encoded into; all zero between frames
}

func (w *writer) init(conn io.Writer) {
	w.conn = conn
	w.deadline, _ = conn.(interface{ SetWriteDeadline(time.Time) error })
	w.busy = make(chan struct{}, 1)
}

// acquire waits for the frame before to be written. An error means that the caller's
// frame was not begun.
func (w *writer) acquire(ctx context.Context, done <-chan struct{}) error {
	select {
	case w.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-done:
		return os.ErrClosed
	}
}

// write writes the frame of one who has acquired the writer, and releases it. Where
// that takes longer than writePatience it returns nil and goes on alone; failed is
// then called if it does not end well. The frame's memory is zeroed in every case:
// requests carry PINs.
func (w *writer) write(id uint32, op Op, b body, failed func(error)) error {
	f := beginFrame(w.take(headerLen+b.size()), id, uint8(op))
	f = b.append(f)
	endFrame(f)
	if w.deadline != nil {
		w.deadline.SetWriteDeadline(time.Now().Add(writePatience)) // fails only on a closed conn, and then Write does
	}
	n, err := w.conn.Write(f)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		w.release(f)
		return err
	}
	go func() {
		w.deadline.SetWriteDeadline(time.Time{})
		_, err := w.conn.Write(f[n:])
		w.release(f)
		if err != nil {
			failed(err)
		}
	}()
	return nil
}

// take returns an empty buffer that holds n bytes without growing.
func (w *writer) take(n int) []byte {
	if cap(w.buf) < n {
		w.buf = make([]byte, 0, n)
	}
	return w.buf[:0]
}

func (w *writer) release(f []byte) {
	clear(f)
	if cap(w.buf) > bufferLen {
		w.buf = nil
	}
	<-w.busy
}
