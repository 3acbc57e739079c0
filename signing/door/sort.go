package door

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// preface is what a connection begins with that speaks HTTP/2 without having negotiated it
// (RFC 9113 §3.4), as gRPC does.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sorter takes the connections of one listener apart by the language that they begin in.
// Each is looked at in a goroutine of its own, so that none waits for another.
type sorter struct {
	in       net.Listener
	patient  time.Duration // how long a connection may take to show its language
	entrance *entrance
	http     *inbox
	grpc     *inbox

	mu     sync.Mutex
	silent map[*conn]struct{} // connections whose language is not known yet; nil once closed
	done   sync.WaitGroup
}

// run accepts until the listener is closed, which is no error, or fails.
func (s *sorter) run() error {
	for {
		accepted, err := s.in.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case temporary(err): // out of descriptors, most likely: there will be some again
			time.Sleep(10 * time.Millisecond)
			continue
		case err != nil:
			return err
		}
		c, ok := accepted.(*conn)
		if !ok { // no listener of this package: nobody knows whose it is
			accepted.Close()
			continue
		}
		if !s.entrance.enter(c) || !s.watch(c) {
			c.Close()
			continue
		}
		s.done.Go(func() { s.sort(c) })
	}
}

// temporary reports whether accepting is worth another try, as net/http judges it.
func temporary(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	//lint:ignore SA1019 for Accept it means something
	return ok && e.Temporary()
}

// sort finds out the language of c and hands it over.
func (s *sorter) sort(c *conn) {
	to := s.language(c)
	s.mu.Lock()
	delete(s.silent, c)
	s.mu.Unlock()
	if to == nil || !to.put(c) {
		c.Close()
	}
}

// language reads as much as it takes to tell, and no byte more than the preface has. It is
// nil for a connection that ends or says nothing.
func (s *sorter) language(c *conn) *inbox {
	if c.SetReadDeadline(time.Now().Add(s.patient)) != nil {
		return nil
	}
	buf := make([]byte, len(preface))
	read := 0
	for read < len(preface) {
		n, err := c.UnixConn.Read(buf[read:])
		read += n
		c.ahead = buf[:read]
		switch {
		case string(buf[:read]) != preface[:read]:
			return s.forget(c, s.http)
		case err != nil:
			return nil
		}
	}
	return s.forget(c, s.grpc)
}

// forget takes the deadline away: what comes next has the limits of its server.
func (s *sorter) forget(c *conn, to *inbox) *inbox {
	if c.SetReadDeadline(time.Time{}) != nil {
		return nil
	}
	return to
}

func (s *sorter) watch(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent == nil {
		return false
	}
	s.silent[c] = struct{}{}
	return true
}

// close stops listening and ends the connections that have said nothing yet.
func (s *sorter) close() error {
	err := s.in.Close()
	s.mu.Lock()
	for c := range s.silent {
		c.Close()
	}
	s.silent = nil
	s.mu.Unlock()
	s.done.Wait()
	return err
}

// inbox is the listener of one language: it accepts what is put into it.
type inbox struct {
	addr   net.Addr
	conns  chan net.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

func newInbox(addr net.Addr) *inbox {
	ctx, cancel := context.WithCancel(context.Background())
	return &inbox{addr, make(chan net.Conn), ctx, cancel}
}

func (i *inbox) put(c *conn) bool {
	select {
	case i.conns <- c:
		return true
	case <-i.ctx.Done():
		return false
	}
}

// Accept implements net.Listener.
func (i *inbox) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return c, nil
	case <-i.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (i *inbox) Close() error {
	i.cancel()
	return nil
}

// Addr implements net.Listener.
func (i *inbox) Addr() net.Addr { return i.addr }
