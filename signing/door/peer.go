package door

import (
	"context"
	"errors"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"keysetd.example/signing/policy"
)

// maxConnections open at once. Further ones wait in the kernel's queue, unaccepted, until
// one closes; those that say nothing are closed in time.
const maxConnections = 1024

// listener accepts at most a number of connections at once, and finds out whose each is.
type listener struct {
	*net.UnixListener
	slots     chan struct{}
	closed    chan struct{}
	closeOnce sync.Once
}

func newListener(l *net.UnixListener, connections int) *listener {
	return &listener{UnixListener: l, slots: make(chan struct{}, connections), closed: make(chan struct{})}
}

// conn is a connection and its caller, as the caller was when it connected: whoever is
// handed the descriptor later acts in that caller's name, and with its rights.
type conn struct {
	*net.UnixConn
	caller  policy.Caller
	release func()
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			<-l.slots
			return nil, err
		}
		caller, err := peer(c)
		if err != nil { // nobody we could name: its connection is its own loss, not the door's
			c.Close()
			continue
		}
		return &conn{UnixConn: c, caller: caller, release: sync.OnceFunc(func() { <-l.slots })}, nil
	}
}

func (l *listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.UnixListener.Close()
}

func (c *conn) Close() error {
	c.release()
	return c.UnixConn.Close()
}

// peer asks the kernel who connected (SO_PEERCRED, unix(7)).
func peer(c *net.UnixConn) (policy.Caller, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return policy.Caller{}, err
	}
	var cred *unix.Ucred
	if cErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cErr != nil {
		return policy.Caller{}, cErr
	}
	if err != nil {
		return policy.Caller{}, err
	}
	return policy.Caller{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

type callerKey struct{}

// withCaller is http.Server's ConnContext.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, callerKey{}, c.caller)
	}
	return ctx
}

var errNoCaller = errors.New("the connection was not accepted by a listener of package door")

func callerOf(ctx context.Context) (policy.Caller, error) {
	caller, ok := ctx.Value(callerKey{}).(policy.Caller)
	if !ok {
		return policy.Caller{}, errNoCaller
	}
	return caller, nil
}
