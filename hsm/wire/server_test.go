package wire

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func TestServeEndsWithTheDaemon(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	entered := make(chan struct{}, 2)
	wait := func() { entered <- struct{}{}; <-hang }
	b := &backend{
		sign:  func(SignRequest, *Timing) ([]byte, error) { wait(); return nil, nil },
		close: func() error { wait(); return nil },
	}
	for _, op := range []Op{OpSign, OpClose} {
		t.Run("during "+op.String(), func(t *testing.T) {
			c, served := start(t, b)
			go c.call(t.Context(), op, SignRequest{})
			within(t, "the request", entered)
			c.Abort(errClosed)
			if err := within(t, "Serve", served); err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestServeRefuses(t *testing.T) {
	hello := string(appendFrame(nil, 1, uint8(OpHello), `{"version":2}`))
	tests := map[string]struct {
		input string
		want  error  // nil: Serve goes on until the end of the input
		reply string // of the last reply
	}{
		"no hello":            {string(appendFrame(nil, 1, uint8(OpList), "{}")), ErrFrame, ""},
		"hello twice":         {hello + hello, ErrFrame, ""},
		"hello that is none":  {string(appendFrame(nil, 1, uint8(OpHello), "1234")), ErrFrame, "not the JSON"},
		"too long":            {hello + "\x04\x00\x00\x01", ErrFrame, ""},
		"too short":           {hello + "\x00\x00\x00\x04", ErrFrame, ""},
		"cut short":           {hello + "\x00\x00\x00\x40\x00", io.ErrUnexpectedEOF, ""},
		"unknown op":          {hello + string(appendFrame(nil, 2, 99, "4711")), nil, "unknown request op-99"},
		"init-token cut":      {hello + string(appendFrame(nil, 2, uint8(OpInitToken), "\x00\x01l\x00\x044711")), nil, "malformed"},
		"init-token too long": {hello + string(appendFrame(nil, 2, uint8(OpInitToken), "\x00\x00\x00\x00\x00\x004711")), nil, "malformed"},
		"sign cut":            {hello + string(appendFrame(nil, 2, uint8(OpSign), "\x01\x00\x094711")), nil, "malformed"},
		"decrypt cut":         {hello + string(appendFrame(nil, 2, uint8(OpDecrypt), "\x07\x00\x094711")), nil, "malformed"},
		"JSON of other type":  {hello + string(appendFrame(nil, 2, uint8(OpList), `{"prefix": 4711}`)), nil, "not the JSON"},
		"JSON broken":         {hello + string(appendFrame(nil, 2, uint8(OpOpen), `{"4711`)), nil, "not the JSON"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			daemon, worker := socketPair(t)
			served := make(chan error, 1)
			block := make(chan struct{})
			defer close(block)
			go func() { served <- Serve(worker, &backend{close: func() error { <-block; return nil }}) }()
			io.WriteString(daemon, tt.input)
			var replies []frame
			r := newReader(daemon)
			if tt.reply != "" {
				for range strings.Count(tt.input, "\x00\x00\x00\x01\x01") + strings.Count(tt.input, "\x00\x00\x00\x02") {
					f, err := r.frame()
					if err != nil {
						t.Fatal(err)
					}
					replies = append(replies, f)
				}
				_, _, err := parseReply(replies[len(replies)-1])
				if e, ok := errors.AsType[*Error](err); !ok || e.Reason != Protocol || !strings.Contains(e.Message, tt.reply) {
					t.Errorf("got %v, want %q", err, tt.reply)
				} else if strings.Contains(e.Message, "47") {
					t.Errorf("the error repeats the request: %v", err)
				}
			}
			daemon.(*net.UnixConn).CloseWrite()
			if err := within(t, "Serve", served); !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReplyTooLarge(t *testing.T) {
	c, _ := start(t, &backend{sign: func(SignRequest, *Timing) ([]byte, error) { return make([]byte, MaxFrame), nil }})
	_, _, err := c.Sign(t.Context(), SignRequest{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != Protocol {
		t.Errorf("got %v", err)
	}
}

// A request that crosses OpClose does not keep the module from being finalised.
func TestRequestThatCrossesClose(t *testing.T) {
	daemon, worker := socketPair(t)
	served, finalise, finalised := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() {
		served <- Serve(worker, &backend{close: func() error { <-finalise; close(finalised); return nil }})
	}()
	for _, f := range [][]byte{
		appendFrame(nil, 1, uint8(OpHello), `{"version":2}`), appendFrame(nil, 2, uint8(OpClose), ""), appendFrame(nil, 3, uint8(OpSign), "crossed"),
	} {
		if _, err := daemon.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	close(finalise)
	within(t, "finalising", finalised)
	if err := within(t, "Serve", served); err != nil {
		t.Errorf("Serve ended with %v", err)
	}
}
