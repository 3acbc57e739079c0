package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestWorkerDiesDuringCalls(t *testing.T) {
	entered := make(chan struct{})
	hang := make(chan struct{})
	defer close(hang)
	daemon, worker := socketPair(t)
	go Serve(worker, &backend{sign: func(SignRequest, *Timing) ([]byte, error) {
		entered <- struct{}{}
		<-hang
		return nil, errNotSet
	}})
	c, _, err := NewClient(t.Context(), daemon)
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 3)
	for range cap(results) {
		go func() {
			_, _, err := c.Sign(t.Context(), SignRequest{})
			results <- err
		}()
		within(t, "the request", entered)
	}
	worker.Close()
	for range cap(results) {
		if err := within(t, "the call", results); !errors.Is(err, ErrWorkerGone) {
			t.Errorf("got %v", err)
		}
	}
	within(t, "Done", c.Done())
	if !errors.Is(c.Err(), ErrWorkerGone) {
		t.Errorf("Err is %v", c.Err())
	}
	if _, _, err := c.Sign(t.Context(), SignRequest{}); !errors.Is(err, ErrWorkerGone) {
		t.Errorf("a call afterwards: %v", err)
	}
	c.Abort(errors.New("too late"))
	if !errors.Is(c.Err(), ErrWorkerGone) {
		t.Errorf("the first cause was replaced by %v", c.Err())
	}
}

// What the worker's end looks like to a client that has one call under way.
func TestHowAConnectionEnds(t *testing.T) {
	half := appendFrame(nil, 2, statusOK, strings.Repeat("x", 100))[:50]
	tests := []struct {
		name string
		last string // the bytes that come before the end
		want error
	}{
		{"between frames", "", ErrWorkerGone},
		{"within a length", "\x00\x00", ErrWorkerGone},
		{"within a header", "\x00\x00\x00\x20\x00", ErrWorkerGone},
		{"within a body", string(half), ErrWorkerGone},
		{"length too small", "\x00\x00\x00\x04\x00\x00\x00\x00", ErrFrame},
		{"length too large", "\xff\xff\xff\xff\x00\x00\x00\x00", ErrFrame},
		{"a reply nobody asked for", string(appendFrame(nil, 77, statusOK, "")), ErrWorkerGone},
		{"no timing", string(appendFrame(nil, 2, statusOK, "short")), ErrFrame},
		{"unknown status", string(appendFrame(nil, 2, 9, string(make([]byte, timingLen)))), ErrFrame},
		{"an error that is no JSON", string(appendFrame(nil, 2, statusError, string(make([]byte, timingLen))+"{")), ErrFrame},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			daemon, worker := socketPair(t)
			go func() {
				r := newReader(worker)
				f, _ := r.frame()
				worker.Write(appendFrame(nil, f.id, statusOK, string(make([]byte, timingLen))+`{"version":2}`))
				r.frame()
				io.WriteString(worker, tt.last)
				worker.Close()
			}()
			c, _, err := NewClient(t.Context(), daemon)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = c.Sign(t.Context(), SignRequest{}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			within(t, "Done", c.Done())
		})
	}
}

// A caller's context ends its wait and nothing else; its reply, when it comes, disturbs nobody.
func TestContextEndsOneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daemon, worker := net.Pipe()
		release := make(chan struct{})
		go Serve(worker, &backend{sign: func(r SignRequest, _ *Timing) ([]byte, error) {
			if len(r.Data) > 0 {
				<-release
			}
			return []byte("signature"), nil
		}})
		c, _, err := NewClient(t.Context(), daemon)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Abort(errClosed)
		cause := errors.New("the caller hung up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		if _, _, err := c.Sign(ctx, SignRequest{Data: []byte("slow")}); err != cause {
			t.Errorf("got %v", err)
		}
		if _, _, err := c.Sign(ctx, SignRequest{}); err != cause {
			t.Errorf("with a context that is over: %v", err)
		}
		close(release)
		synctest.Wait()
		if sig, _, err := c.Sign(t.Context(), SignRequest{}); err != nil || string(sig) != "signature" {
			t.Errorf("the next call: %q, %v", sig, err)
		}
		if len(c.pending) != 0 {
			t.Errorf("%d calls are still waited for", len(c.pending))
		}
	})
}

// A worker that no longer reads cannot hold a caller beyond its context, whether the
// caller is the one whose write is stuck or waits behind it. Its end frees all.
func TestContextCountsWhileAWriteIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daemon, worker := net.Pipe() // unbuffered: a write needs a reader
		go func() {
			r := newReader(worker)
			f, _ := r.frame()
			worker.Write(appendFrame(nil, f.id, statusOK, string(make([]byte, timingLen))+`{"version":2}`))
		}()
		c, _, err := NewClient(t.Context(), daemon)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for _, timeout := range []time.Duration{time.Second, time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			if _, err := c.Login(ctx, LoginRequest{PIN: []byte("1234")}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(start); took != time.Second+time.Millisecond {
			t.Errorf("the callers were held for %v", took)
		}
		if bytes.Contains(c.writer.buf[:cap(c.writer.buf)], []byte("1234")) == false {
			t.Error("the frame that is being written is not where this test looks")
		}
		stuck := make(chan error)
		go func() {
			_, _, err := c.Sign(t.Context(), SignRequest{})
			stuck <- err
		}()
		synctest.Wait()
		cause := errors.New("took too long")
		c.Abort(cause)
		if err := <-stuck; err != cause {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if !zero(c.writer.buf) {
			t.Error("the frame that could not be written still holds the PIN")
		}
	})
}

// A slow write that comes through after all is not torn apart.
func TestSlowWriteGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daemon, worker := net.Pipe()
		var gone sync.WaitGroup
		gone.Go(func() {
			r := newReader(worker)
			f, _ := r.frame()
			worker.Write(appendFrame(nil, f.id, statusOK, string(make([]byte, timingLen))+`{"version":2}`))
			slow := newReader(&slowReader{worker})
			for {
				f, err := slow.frame()
				if err != nil {
					return
				}
				r, err := parseSign(OpSign, f.body)
				if err != nil {
					return
				}
				worker.Write(appendFrame(nil, f.id, statusOK, string(make([]byte, timingLen))+string(r.Data)))
			}
		})
		c, _, err := NewClient(t.Context(), daemon)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range []string{"the first message", "the second"} {
			if got, _, err := c.Sign(t.Context(), SignRequest{Data: []byte(data)}); err != nil || string(got) != data {
				t.Errorf("got %q, %v", got, err)
			}
		}
		c.Abort(errClosed)
		gone.Wait()
	})
}

// slowReader needs a second for each byte.
type slowReader struct{ r io.Reader }

func (s *slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return s.r.Read(p[:1])
}

// A length alone takes no memory, and a worker that trickles is read all the same.
func TestReaderTakesWhatComes(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	newReader(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, MaxFrame), 1, 2, 3, 4, 5, 6))).frame()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("ten bytes made the reader take %d", n)
	}
	var m []byte
	for i := range 5 {
		m = appendFrame(m, uint32(i), uint8(i), strings.Repeat("b", i*40_000))
	}
	for name, src := range map[string]io.Reader{
		"at once": bytes.NewReader(m), "byte by byte": iotest.OneByteReader(bytes.NewReader(m)),
		"halves": iotest.HalfReader(bytes.NewReader(m)), "error with data": iotest.DataErrReader(bytes.NewReader(m)),
	} {
		r := newReader(src)
		for i := range 5 {
			f, err := r.frame()
			if err != nil || f.id != uint32(i) || f.code != uint8(i) || len(f.body) != i*40_000 {
				t.Fatalf("%s: frame %d is %d, %d, %d bytes, %v", name, i, f.id, f.code, len(f.body), err)
			}
		}
		if _, err := r.frame(); err != io.EOF {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := newReader(noProgress{}).frame(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

type noProgress struct{}

func (noProgress) Read([]byte) (int, error) { return 0, nil }

// Lengths that do not fit their field are refused before anything is sent, and the
// connection is good for the next call.
func TestLengthsAreRefusedNotCut(t *testing.T) {
	c, _ := start(t, &backend{sign: func(r SignRequest, _ *Timing) ([]byte, error) { return []byte{1}, nil }})
	long := strings.Repeat("x", maxField+1)
	calls := map[string]func() error{
		"sign, id":       func() error { _, _, err := c.Sign(t.Context(), SignRequest{Key: Ref{ID: []byte(long)}}); return err },
		"sign, label":    func() error { _, _, err := c.Sign(t.Context(), SignRequest{Key: Ref{Label: long}}); return err },
		"sign, data":     func() error { _, _, err := c.Sign(t.Context(), SignRequest{Data: make([]byte, MaxFrame)}); return err },
		"login, PIN":     func() error { _, err := c.Login(t.Context(), LoginRequest{PIN: []byte(long)}); return err },
		"init, label":    func() error { _, _, err := c.InitToken(t.Context(), InitTokenRequest{Label: long}); return err },
		"init, SO PIN":   func() error { _, _, err := c.InitToken(t.Context(), InitTokenRequest{SOPIN: []byte(long)}); return err },
		"init, user PIN": func() error { _, _, err := c.InitToken(t.Context(), InitTokenRequest{PIN: []byte(long)}); return err },
	}
	for name, call := range calls {
		err := call()
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != Protocol {
			t.Errorf("%s: got %v", name, err)
		} else if strings.Contains(e.Message, "xx") {
			t.Errorf("%s: the error repeats the value", name)
		}
	}
	if _, _, err := c.Sign(t.Context(), SignRequest{Key: Ref{ID: []byte(long[1:]), Label: long[1:]}}); err != nil {
		t.Errorf("the longest that fit: %v", err)
	}
}
