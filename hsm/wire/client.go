package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Client is the daemon's end of a connection to one worker. Its methods may be called
// from many goroutines. When the connection ends every call under way fails with the
// cause, which Done and Err tell too.
type Client struct {
	conn   io.ReadWriteCloser
	writer writer

	mu      sync.Mutex
	nextID  uint32
	pending map[uint32]chan frame
	closing bool // OpClose was sent
	err     error
	done    chan struct{}
}

// ErrWorkerGone means that the worker closed its end: it exited or was killed.
var ErrWorkerGone = errors.New("the worker process ended")

var errClosed = errors.New("the connection to the worker was closed")

// NewClient begins to read from conn and exchanges versions. When it fails conn is closed.
// Closing conn must end a Read that waits: a socket has to come from net.FileConn, since
// an os.File in blocking mode does not.
func NewClient(ctx context.Context, conn io.ReadWriteCloser) (*Client, Hello, error) {
	c := &Client{conn: conn, pending: map[uint32]chan frame{}, done: make(chan struct{})}
	c.writer.init(conn)
	go c.read()
	var h Hello
	_, err := c.callJSON(ctx, OpHello, Hello{Version: Version}, &h)
	if err == nil && h.Version != Version {
		err = versionError(Version, h.Version)
	}
	if err != nil {
		c.fail(err)
		return nil, Hello{}, err
	}
	return c, h, nil
}

func versionError(daemon, worker int) error {
	return &Error{Reason: Protocol, Message: fmt.Sprintf("the daemon speaks version %d of the frame protocol and the worker %d: the binary was replaced while the daemon ran; restart keysetd", daemon, worker)}
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err tells why the connection ended, once Done is closed.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Abort ends the connection with a cause.
func (c *Client) Abort(cause error) { c.fail(cause) }

func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.pending = nil
	c.mu.Unlock()
	close(c.done)
	c.conn.Close()
}

// read hands replies to those who wait for them, until the connection ends.
func (c *Client) read() {
	r := newReader(c.conn)
	for {
		f, err := r.frame()
		if err != nil {
			c.fail(c.readError(err))
			return
		}
		c.mu.Lock()
		ch := c.pending[f.id]
		delete(c.pending, f.id)
		if ch != nil {
			ch <- f // holds one, so it does not block; under mu, so that forget finds either both or neither
		} else { // whoever asked no longer waits
			clear(f.body)
		}
		c.mu.Unlock()
	}
}

// readError tells a worker that talks nonsense from one that is gone. A process that is
// killed shows itself as an end of file, between frames or within one, or as a reset.
func (c *Client) readError(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, ErrFrame):
		return err
	case c.closing && len(c.pending) == 0:
		return errClosed // it went because it was told to
	case err == io.EOF:
		return ErrWorkerGone
	}
	return fmt.Errorf("%w: %w", ErrWorkerGone, err)
}

// call sends one request and waits for its reply, for ctx, or for the connection's
// end. A call that ctx ended may still be carried out by the worker.
func (c *Client) call(ctx context.Context, op Op, b body) ([]byte, Timing, error) {
	if err := c.check(op, b); err != nil {
		return nil, Timing{}, err
	}
	if ctx.Err() != nil {
		return nil, Timing{}, context.Cause(ctx)
	}
	id, reply, err := c.register(op)
	if err != nil {
		return nil, Timing{}, err
	}
	if err := c.send(ctx, id, op, b); err != nil {
		c.forget(id)
		return nil, Timing{}, err
	}
	select {
	case f := <-reply:
		return parseReply(f)
	case <-ctx.Done():
		c.forget(id)
		select {
		case f := <-reply: // it came at the same moment, and nobody else sees it
			clear(f.body)
		default:
		}
		return nil, Timing{}, context.Cause(ctx)
	case <-c.done:
	}
	select {
	case f := <-reply: // it came before the end did
		return parseReply(f)
	default:
		return nil, Timing{}, c.Err()
	}
}

// check refuses what no frame can carry. The connection is not touched.
func (c *Client) check(op Op, b body) error {
	if err := b.check(); err != nil {
		return err
	}
	if n := b.size() + headerLen - 4; n > MaxFrame {
		return refused("the %s request takes a frame of %d bytes; the longest is %d", op, n, MaxFrame)
	}
	return nil
}

// register takes an id that no call under way has.
func (c *Client) register(op Op) (uint32, chan frame, error) {
	reply := make(chan frame, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	c.nextID++
	for c.pending[c.nextID] != nil {
		c.nextID++
	}
	c.pending[c.nextID] = reply
	c.closing = c.closing || op == OpClose
	return c.nextID, reply, nil
}

func (c *Client) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id) // of a nil map too
}

func (c *Client) send(ctx context.Context, id uint32, op Op, b body) error {
	if err := c.writer.acquire(ctx, c.done); err != nil {
		if ctx.Err() == nil {
			err = c.Err()
		}
		return err
	}
	if err := c.writer.write(id, op, b, c.writeFailed); err != nil {
		c.writeFailed(err)
		return c.Err()
	}
	return nil
}

func (c *Client) writeFailed(err error) { c.fail(fmt.Errorf("%w: %w", ErrWorkerGone, err)) }

func parseReply(f frame) ([]byte, Timing, error) {
	t, body, err := parseTiming(f.body)
	if err != nil {
		return nil, t, err
	}
	switch f.code {
	case statusOK:
		return body, t, nil
	case statusError:
		e := new(Error)
		if err := json.Unmarshal(body, e); err != nil {
			return nil, t, fmt.Errorf("%w: error reply", ErrFrame)
		}
		return nil, t, e
	}
	return nil, t, fmt.Errorf("%w: status %d", ErrFrame, f.code)
}
