package wire

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// backend answers by its functions; those not set give an error.
type backend struct {
	open     func(OpenRequest) (TokenInfo, error)
	prepare  func(PrepareRequest) error
	login    func(LoginRequest) error
	init     func(InitTokenRequest) (TokenInfo, error)
	list     func(ListRequest) ([]Object, error)
	generate func(GenerateRequest) (Object, error)
	sign     func(SignRequest, *Timing) ([]byte, error)
	decrypt  func(DecryptRequest, *Timing) (Decrypted, error)
	destroy  func(Ref) (DestroyReply, error)
	close    func() error
}

var errNotSet = errors.New("not part of this test")

func (b *backend) Open(r OpenRequest) (TokenInfo, error) {
	if b.open == nil {
		return TokenInfo{}, errNotSet
	}
	return b.open(r)
}

func (b *backend) Prepare(r PrepareRequest) error {
	if b.prepare == nil {
		return errNotSet
	}
	return b.prepare(r)
}

func (b *backend) Login(r LoginRequest) error {
	if b.login == nil {
		return errNotSet
	}
	return b.login(r)
}

func (b *backend) InitToken(r InitTokenRequest) (TokenInfo, error) {
	if b.init == nil {
		return TokenInfo{}, errNotSet
	}
	return b.init(r)
}

func (b *backend) List(r ListRequest) ([]Object, error) {
	if b.list == nil {
		return nil, errNotSet
	}
	return b.list(r)
}

func (b *backend) Generate(r GenerateRequest) (Object, error) {
	if b.generate == nil {
		return Object{}, errNotSet
	}
	return b.generate(r)
}

func (b *backend) Sign(r SignRequest, t *Timing) ([]byte, error) {
	if b.sign == nil {
		return nil, errNotSet
	}
	return b.sign(r, t)
}

func (b *backend) Decrypt(r DecryptRequest, t *Timing) (Decrypted, error) {
	if b.decrypt == nil {
		return Decrypted{}, errNotSet
	}
	return b.decrypt(r, t)
}

func (b *backend) Destroy(r Ref) (DestroyReply, error) {
	if b.destroy == nil {
		return DestroyReply{}, errNotSet
	}
	return b.destroy(r)
}

func (b *backend) Metrics() ([]byte, error) { return nil, nil }

func (b *backend) Close() error {
	if b.close == nil {
		return nil
	}
	return b.close()
}

// socketPair returns both ends of the kind of connection that daemon and worker use.
func socketPair(t testing.TB) (daemon, worker net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "pair")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return conn(fds[0]), conn(fds[1])
}

// start serves b and returns a client of it, and what Serve will return.
func start(t testing.TB, b Backend) (*Client, <-chan error) {
	t.Helper()
	daemon, worker := socketPair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(worker, b) }()
	c, h, err := NewClient(t.Context(), daemon)
	if err != nil {
		t.Fatal(err)
	}
	if h.PID != os.Getpid() {
		t.Fatalf("the worker's PID is %d, want %d", h.PID, os.Getpid())
	}
	t.Cleanup(func() { c.Abort(errClosed) })
	return c, served
}

// within fails the test if ch gives nothing for as long as a test may take.
func within[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing happened", what)
		panic("unreachable")
	}
}
