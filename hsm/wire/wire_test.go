package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
)

func yes(v bool) *bool { return &v }

func TestEveryCall(t *testing.T) {
	open := OpenRequest{Module: "/m.so", Label: "l", Serial: "s", Manufacturer: "a", Model: "b", Reserved: "r"}
	info := TokenInfo{Label: "l", Serial: "s", MaxSessions: 1 << 40, PINFinalTry: true, Mechanisms: []uint64{1, 0x80000001}}
	list := ListRequest{Prefix: "keysetd:"}
	object := Object{ID: []byte{0, 255}, Label: "ü", Private: true, PublicKey: []byte{1}, Attributes: PrivateAttributes{Token: yes(true), Extractable: yes(false)}}
	generate := GenerateRequest{ID: []byte{1}, Label: "k", Spec: keyspec.P521, Usage: Sign}
	sign := SignRequest{Key: Ref{ID: []byte{1, 0}, Label: "k"}, Mechanism: RSAPSS384, Data: []byte("digest")}
	decrypt := DecryptRequest{Key: sign.Key, Mechanism: ECDH1, Data: []byte("a point")}
	timing := Timing{Wait: 3 * time.Microsecond, Call: time.Hour}
	var closed bool
	c, served := start(t, &backend{
		open:    func(r OpenRequest) (TokenInfo, error) { return info, differs(r, open) },
		prepare: func(r PrepareRequest) error { return differs(r, PrepareRequest{8}) },
		login: func(r LoginRequest) error {
			return differs(LoginRequest{slices.Clone(r.PIN)}, LoginRequest{[]byte("1234\x00")})
		},
		init: func(r InitTokenRequest) (TokenInfo, error) {
			return info, differs(r, InitTokenRequest{"l", []byte("so"), []byte("user")})
		},
		list:     func(r ListRequest) ([]Object, error) { return []Object{object, {}}, differs(r, list) },
		generate: func(r GenerateRequest) (Object, error) { return object, differs(r, generate) },
		sign: func(r SignRequest, t *Timing) ([]byte, error) {
			*t = timing
			return []byte("signature"), differs(r, sign)
		},
		decrypt: func(r DecryptRequest, t *Timing) (Decrypted, error) {
			*t = timing
			return Decrypted{[]byte("\x00plaintext\x00"), true}, differs(r, decrypt)
		},
		destroy: func(r Ref) (DestroyReply, error) { return DestroyReply{Objects: 2}, differs(r, sign.Key) },
		close:   func() error { closed = true; return nil },
	})
	ctx := t.Context()

	gotInfo, took, err := c.Open(ctx, open)
	check(t, "open", gotInfo, info, err)
	if took.Call <= 0 {
		t.Errorf("open took %v", took)
	}
	pin, so := []byte("1234\x00"), []byte("so")
	if _, err := c.Prepare(ctx, PrepareRequest{8}); err != nil {
		t.Errorf("prepare: %v", err)
	}
	_, err = c.Login(ctx, LoginRequest{PIN: pin})
	check(t, "login leaves the PIN", pin, make([]byte, 5), err)
	pin = []byte("user")
	gotInfo, _, err = c.InitToken(ctx, InitTokenRequest{"l", so, pin})
	check(t, "init-token", gotInfo, info, err)
	check(t, "init-token leaves the PINs", [][]byte{so, pin}, [][]byte{{0, 0}, {0, 0, 0, 0}}, nil)
	objects, _, err := c.List(ctx, list)
	check(t, "list", objects, []Object{object, {}}, err)
	made, _, err := c.Generate(ctx, generate)
	check(t, "generate", made, object, err)
	sig, took, err := c.Sign(ctx, sign)
	check(t, "sign", sig, []byte("signature"), err)
	check(t, "sign's timing", took, timing, nil)
	plain, took, err := c.Decrypt(ctx, decrypt)
	check(t, "decrypt", plain, Decrypted{[]byte("\x00plaintext\x00"), true}, err)
	check(t, "decrypt's timing", took, timing, nil)
	gone, _, err := c.Destroy(ctx, sign.Key)
	check(t, "destroy", gone, DestroyReply{Objects: 2}, err)
	check(t, "close", closed, false, nil)
	err = c.Close(ctx)
	check(t, "close", closed, true, err)
	if err := within(t, "Serve", served); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, _, err := c.List(ctx, list); !errors.Is(err, errClosed) {
		t.Errorf("a call after Close: %v", err)
	}
}

func check[T any](t *testing.T, what string, got, want T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func differs[T any](got, want T) error {
	if !reflect.DeepEqual(got, want) {
		return errors.New("the request arrived changed")
	}
	return nil
}

func TestErrorsKeepTheirCode(t *testing.T) {
	want := &Error{Code: 0x80000123, Function: "C_Sign", Reason: Unsupported, Message: "signing"}
	c, _ := start(t, &backend{
		sign: func(SignRequest, *Timing) ([]byte, error) { return nil, errors.Join(errors.New("outside"), want) },
		list: func(ListRequest) ([]Object, error) { return nil, errors.New("of no class") },
	})
	_, _, err := c.Sign(t.Context(), SignRequest{})
	if got, ok := errors.AsType[*Error](err); !ok || *got != *want {
		t.Errorf("got %#v, want %#v", err, want)
	}
	_, _, err = c.List(t.Context(), ListRequest{})
	if got, ok := errors.AsType[*Error](err); !ok || got.Reason != Protocol || got.Message != "of no class" {
		t.Errorf("got %#v", err)
	}
}

// Each call's reply is released in the reverse order of the calls.
func TestRepliesOutOfOrder(t *testing.T) {
	const n = 50
	var arrived sync.WaitGroup
	arrived.Add(n)
	gates := make([]chan struct{}, n+1)
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	close(gates[n])
	c, _ := start(t, &backend{sign: func(r SignRequest, _ *Timing) ([]byte, error) {
		i := int(r.Data[0])
		arrived.Done()
		<-gates[i+1]
		return slices.Clone(r.Data), nil
	}})
	go arrived.Wait()
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			got, _, err := c.Sign(t.Context(), SignRequest{Data: []byte{byte(i)}})
			if err != nil || !bytes.Equal(got, []byte{byte(i)}) {
				t.Errorf("call %d got %v, %v", i, got, err)
			}
			close(gates[i])
		})
	}
	calls.Wait()
}

func TestVersionsDiffer(t *testing.T) {
	t.Run("the worker refuses the daemon's", func(t *testing.T) {
		daemon, worker := socketPair(t)
		served := make(chan error, 1)
		go func() { served <- Serve(worker, &backend{}) }()
		daemon.Write(appendFrame(nil, 7, uint8(OpHello), `{"version": 99}`))
		f, err := newReader(daemon).frame()
		if err != nil || f.id != 7 {
			t.Fatalf("got %v, %v", f, err)
		}
		if _, _, err = parseReply(f); err == nil || !strings.Contains(err.Error(), "daemon speaks version 99 of the frame protocol and the worker 2") {
			t.Errorf("got %v", err)
		}
		if err := within(t, "Serve", served); err == nil {
			t.Error("Serve went on")
		}
	})
	t.Run("the daemon refuses the worker's", func(t *testing.T) {
		daemon, worker := socketPair(t)
		go func() {
			f, _ := newReader(worker).frame()
			worker.Write(appendFrame(nil, f.id, statusOK, string(make([]byte, timingLen))+`{"version": 99}`))
		}()
		_, _, err := NewClient(t.Context(), daemon)
		if err == nil || !strings.Contains(err.Error(), "daemon speaks version 2 of the frame protocol and the worker 99") {
			t.Errorf("got %v", err)
		}
		if _, err := daemon.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the connection was left open: %v", err)
		}
	})
	t.Run("a worker that says nothing", func(t *testing.T) {
		daemon, _ := socketPair(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := NewClient(ctx, daemon); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func appendFrame(b []byte, id uint32, code uint8, body string) []byte {
	f := append(beginFrame(nil, id, code), body...)
	endFrame(f)
	return append(b, f...)
}

func TestOpNames(t *testing.T) {
	for op := OpHello; op <= OpClose; op++ {
		if strings.HasPrefix(op.String(), "op-") {
			t.Errorf("%d has no name", op)
		}
	}
	for m := RSAPKCS; m <= ECDH1; m++ {
		if strings.HasPrefix(m.String(), "mechanism-") {
			t.Errorf("%d has no name", m)
		}
	}
	if Op(0).String() != "op-0" || Op(200).String() != "op-200" || Mechanism(0).String() != "mechanism-0" {
		t.Error("an unknown number has a name")
	}
}

// A signature large or small goes through, and neither end keeps a large buffer.
func TestLargeBodies(t *testing.T) {
	c, _ := start(t, &backend{sign: func(r SignRequest, _ *Timing) ([]byte, error) { return r.Data, nil }})
	for _, n := range []int{0, 1, bufferLen - 64, bufferLen, firstStep + 1, 3<<20 + 17} {
		data := bytes.Repeat([]byte("0123456789abcde"), n/15+1)[:n]
		got, _, err := c.Sign(t.Context(), SignRequest{Data: data})
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
		}
		c.writer.busy <- struct{}{}
		if cap(c.writer.buf) > bufferLen {
			t.Errorf("the client keeps %d bytes after a request of %d", cap(c.writer.buf), n)
		}
		<-c.writer.busy
	}
	s := &server{conn: nopConn{}}
	s.reply(1, Timing{}, make([]byte, 1<<20), nil)
	if cap(s.buf) > bufferLen {
		t.Errorf("the server keeps %d bytes", cap(s.buf))
	}
}

type nopConn struct{}

func (nopConn) Read([]byte) (int, error)    { return 0, io.EOF }
func (nopConn) Write(p []byte) (int, error) { return len(p), nil }
func (nopConn) Close() error                { return nil }
