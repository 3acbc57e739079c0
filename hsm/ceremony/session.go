package ceremony

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ThalesIgnite/crypto11"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

const (
	// patience is how long a token may take to come up.
	patience = 2 * time.Minute
	// makingLimit is how long a key may take to be made: RSA-4096 in a smart card takes minutes.
	makingLimit = 10 * time.Minute
	// signingLimit is how long a signature, a search or a removal may take.
	signingLimit = time.Minute
	// closingLimit is how long is waited for the module to be finalised.
	closingLimit = 10 * time.Second
)

// session is crypto11, logged in.
type session struct {
	*crypto11.Context
	token *hsm.Token // whose one "worker" is crypto11
}

// login opens the token that info describes with crypto11, after a worker has logged in with success: no PIN is
// tried here that was not right a moment ago. The module gets the environment that the configuration
// gives its workers, which becomes this process's own.
func login(ctx context.Context, p Place, info hsm.Info) (*session, error) {
	for name, value := range p.Token.Environment {
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("token %s: set %s for the module: %w", p.Token.Name, name, err)
		}
	}
	// crypto11 shows no flags. Those in info are from before that login, which has reset what counts wrong PINs
	// (PKCS#11 v2.40 §3.3, CKF_USER_PIN_COUNT_LOW).
	info.PINCountLow, info.PINFinalTry, info.PINLocked = false, false, false
	opened := make(chan *crypto11.Context, 1)
	cfg := hsm.Config{
		Name: p.Token.Name, Open: p.Token.Open, Sessions: 1, Limits: p.Token.Limits,
		PIN: p.Token.PIN, PINSource: p.Token.PINSource, Marker: p.Token.Marker,
		Serial: p.Token.Serial, RememberSerial: p.Token.RememberSerial,
	}
	once := make(chan struct{}, 1)
	cfg.Launch = func(context.Context) (hsm.Worker, error) {
		select {
		case once <- struct{}{}:
		default: // a second login by itself would be a surprise to the person who sits here
			return nil, errors.New("crypto11 is started once only")
		}
		return serve(&backend{module: cfg.Open.Module, info: info, opened: opened}), nil
	}
	t, err := hsm.Start(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not come up within %v", patience))
	defer cancel()
	if err := t.Attempt(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("crypto11: %w", err), shut(t))
	}
	return &session{<-opened, t}, nil
}

// shut waits for a token's worker to end, also where whoever asked has given up.
func shut(t *hsm.Token) error {
	ctx, cancel := context.WithTimeout(context.Background(), closingLimit)
	defer cancel()
	return t.Close(ctx)
}

// close finalises the module. Nothing of the session may be used afterwards.
func (s *session) close() error { return shut(s.token) }

// inside is a worker in this process.
type inside struct {
	conn, theirs net.Conn
	kill         sync.Once
	exited       chan struct{}
}

func serve(b wire.Backend) hsm.Worker {
	w := &inside{exited: make(chan struct{})}
	w.conn, w.theirs = net.Pipe()
	go func() {
		wire.Serve(w.theirs, b) // how it ended its client knows
		w.Kill()
		close(w.exited)
	}()
	return w
}

func (w *inside) Conn() io.ReadWriteCloser { return w.conn }
func (w *inside) PID() int                 { return 0 }
func (w *inside) Exited() <-chan struct{}  { return w.exited }

// Kill gives up on a call that hangs, which only the end of the process ends.
func (w *inside) Kill() {
	w.kill.Do(func() {
		w.theirs.Close()
		w.conn.Close()
	})
}

// within runs a call into the module that can be cancelled by nobody, and stops waiting for it when ctx ends or
// limit is over: the process that holds it is about to end.
func within[T any](ctx context.Context, limit time.Duration, what string, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call()
		done <- result{v, err}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the module did not answer within %v", limit))
	defer cancel()
	select {
	case r := <-done:
		if r.err != nil {
			return r.value, fmt.Errorf("%s: %w", what, r.err)
		}
		return r.value, nil
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}
