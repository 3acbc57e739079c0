package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Backend does what requests ask for. Open, then Login or InitToken, come first and
// alone; the rest may be called from many goroutines at once, also while another call
// hangs. Errors are *Error where the daemon has to tell them apart; others reach it as
// their text, which holds no secret.
type Backend interface {
	Open(OpenRequest) (TokenInfo, error)
	// Prepare comes between Open, or InitToken, and Login.
	Prepare(PrepareRequest) error
	// Login must not keep the PIN: its memory is zeroed when Login returns.
	Login(LoginRequest) error
	// InitToken must not keep the PINs, for the same reason.
	InitToken(InitTokenRequest) (TokenInfo, error)
	List(ListRequest) ([]Object, error)
	Generate(GenerateRequest) (Object, error)
	// Sign tells in t how long it waited for a session and how long the module took.
	Sign(r SignRequest, t *Timing) ([]byte, error)
	// Decrypt fills t as Sign does. It must not keep the plaintext: its memory is zeroed when it is sent.
	Decrypt(r DecryptRequest, t *Timing) (Decrypted, error)
	Destroy(Ref) (DestroyReply, error)
	// Metrics returns the worker's own metric families as length-delimited protobuf.
	Metrics() ([]byte, error)
	// Close finalises. No call is under way and none follows.
	Close() error
}

// Serve answers requests on conn until it ends or until OpClose, and closes it. Each
// request runs in a goroutine of its own; the daemon bounds how many there are.
//
// Serve returns as soon as the daemon's end is gone, also while the backend is in a
// call that hangs, C_Finalize included: the process has then nobody to live for. The
// error is nil after an orderly end; what Backend.Close failed with was answered.
func Serve(conn io.ReadWriteCloser, b Backend) error {
	defer conn.Close()
	s := &server{conn: conn, backend: b}
	r := newReader(conn)
	if err := s.hello(r); err != nil {
		return s.end(err)
	}
	for {
		f, err := r.frame()
		if err != nil {
			return s.end(err)
		}
		op := Op(f.code)
		if op == OpHello {
			clear(f.body)
			return fmt.Errorf("%w: %s where it must not be", ErrFrame, op)
		}
		if s.closing { // it crossed the OpClose; the daemon does not wait for it any more
			clear(f.body)
			continue
		}
		if op == OpClose {
			s.closing = true
			go s.close(f.id)
			continue
		}
		s.running.Go(func() { s.answer(f) })
	}
}

type server struct {
	conn    io.ReadWriteCloser
	backend Backend
	running sync.WaitGroup
	closing bool // OpClose came: nothing may follow

	mu     sync.Mutex
	buf    []byte
	closed bool // the reply to OpClose was written
}

// hello answers the first request, which must be OpHello with our version.
func (s *server) hello(r *reader) error {
	f, err := r.frame()
	if err != nil {
		return err
	}
	if Op(f.code) != OpHello {
		clear(f.body)
		return fmt.Errorf("%w: %s before hello", ErrFrame, Op(f.code))
	}
	var refusal error
	reply, err := handle(f.body, func(h Hello) (Hello, error) {
		if h.Version != Version {
			refusal = versionError(h.Version, Version)
		}
		return Hello{Version: Version, PID: os.Getpid()}, refusal
	})
	s.reply(f.id, Timing{}, reply, err)
	return err
}

// end tells an orderly end from a broken one.
func (s *server) end(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil // nobody is left to be told anything
	}
	return err
}

// close ends the service once the requests before it are answered, and with it the
// loop that reads.
func (s *server) close(id uint32) {
	s.running.Wait()
	s.reply(id, Timing{}, nil, s.backend.Close())
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.conn.Close()
}

func (s *server) answer(f frame) {
	start := time.Now()
	var t Timing
	body, err := s.do(Op(f.code), f.body, &t)
	if op := Op(f.code); op != OpSign && op != OpDecrypt {
		t.Call = time.Since(start)
	}
	s.reply(f.id, t, body, err)
	if Op(f.code) == OpDecrypt {
		clear(body)
	}
}

func (s *server) do(op Op, body []byte, t *Timing) ([]byte, error) {
	switch op {
	case OpOpen:
		return handle(body, s.backend.Open)
	case OpPrepare:
		return handle(body, func(r PrepareRequest) (struct{}, error) { return struct{}{}, s.backend.Prepare(r) })
	case OpLogin:
		defer clear(body)
		return nil, s.backend.Login(LoginRequest{PIN: body})
	case OpInitToken:
		defer clear(body)
		r, err := parseInitToken(body)
		if err != nil {
			return nil, err
		}
		info, err := s.backend.InitToken(r)
		if err != nil {
			return nil, err
		}
		return json.Marshal(info)
	case OpList:
		return handle(body, s.backend.List)
	case OpGenerate:
		return handle(body, s.backend.Generate)
	case OpDestroy:
		return handle(body, s.backend.Destroy)
	case OpSign:
		r, err := parseSign(op, body)
		if err != nil {
			return nil, err
		}
		return s.backend.Sign(r, t)
	case OpDecrypt:
		r, err := parseSign(op, body)
		if err != nil {
			return nil, err
		}
		d, err := s.backend.Decrypt(DecryptRequest(r), t)
		if err != nil {
			return nil, err
		}
		return d.encode()
	case OpMetrics:
		return s.backend.Metrics()
	}
	clear(body) // whatever it was
	return nil, &Error{Reason: Protocol, Message: fmt.Sprintf("unknown request %s", op)}
}

// handle does not repeat what encoding/json says of a body, since that quotes it.
func handle[Q, R any](body []byte, f func(Q) (R, error)) ([]byte, error) {
	var q Q
	if json.Unmarshal(body, &q) != nil {
		return nil, fmt.Errorf("%w: the body is not the JSON that was expected", ErrFrame)
	}
	r, err := f(q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

func (s *server) reply(id uint32, t Timing, body []byte, err error) {
	if n := headerLen - 4 + timingLen + len(body); n > MaxFrame {
		err = refused("the reply takes a frame of %d bytes; the longest is %d; ask for less", n, MaxFrame)
	}
	status := byte(statusOK)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Reason: Protocol, Message: err.Error()}
		}
		status = statusError
		body, _ = json.Marshal(e) // strings and numbers: cannot fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(t.append(beginFrame(s.buf[:0], id, status)), body...)
	endFrame(s.buf)
	s.conn.Write(s.buf) // a lost connection shows itself at the reader
	clear(s.buf)        // it may have been a plaintext
	if cap(s.buf) > bufferLen {
		s.buf = nil
	}
}
