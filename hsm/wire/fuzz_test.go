package wire

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tape is a connection whose other end has said everything already.
type tape struct {
	in io.Reader

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *tape) Read(b []byte) (int, error) { return p.in.Read(b) }
func (p *tape) Close() error               { return nil }

func (p *tape) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// FuzzServe: whatever the daemon's end says, Serve ends, no request that carries a PIN
// is shown in a reply, and what it replies are frames with ids that were asked.
func FuzzServe(f *testing.F) {
	hello := appendFrame(nil, 1, uint8(OpHello), `{"version":2}`)
	f.Add(hello)
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpOpen), `{"module":"/m.so","label":"l"}`)...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpLogin), "\x00\x081234")...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpInitToken), "\x00\x01l\x00\x02so\x00\x04user")...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpSign), "\x01\x00\x01i\x00\x01ldata")...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpDecrypt), "\x07\x00\x01i\x00\x01ldata")...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpGenerate), `{"id":"AQ==","label":"k","spec":"p-256","usage":"sign"}`)...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpDestroy), `{"id":"AQ=="}`)...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, uint8(OpClose), "")...))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x04\x00\x00\x00\x00\x00\x00\x01\x02"))
	f.Fuzz(func(t *testing.T, in []byte) {
		conn := &tape{in: bytes.NewReader(in)}
		err := Serve(conn, &backend{
			login:    func(LoginRequest) error { return nil },
			sign:     func(r SignRequest, _ *Timing) ([]byte, error) { return r.Data, nil },
			decrypt:  func(r DecryptRequest, _ *Timing) (Decrypted, error) { return Decrypted{r.Data, true}, nil },
			generate: func(r GenerateRequest) (Object, error) { return Object{ID: r.ID, Label: r.Label}, nil },
		})
		_ = err // either is right: the replies are what counts
		conn.mu.Lock()
		replies := newReader(bytes.NewReader(slices.Clone(conn.out.Bytes())))
		conn.mu.Unlock()
		for {
			reply, err := replies.frame()
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatalf("the server wrote what is no frame: %v", err)
			}
			if _, _, err := parseTiming(reply.body); err != nil || reply.code > statusError {
				t.Fatalf("the server wrote a reply that is none: %v, status %d", err, reply.code)
			}
		}
	})
}

// FuzzClient: whatever the worker's end says, every call returns and the client ends.
func FuzzClient(f *testing.F) {
	timing := string(make([]byte, timingLen))
	hello := appendFrame(nil, 1, statusOK, timing+`{"version":2,"pid":2}`)
	f.Add(hello)
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, statusOK, timing+"signature")...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, statusError, timing+`{"code":160,"function":"C_Sign","message":"m"}`)...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 3, statusOK, timing+`[{"id":"AQ==","attributes":{"token":true}}]`)...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 4, statusOK, timing+`{"label":"l"}`)...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 5, statusOK, timing+"\x01\x00\x02ab"+strings.Repeat("\x00", MaxPlaintext-2))...))
	f.Add(append(slices.Clone(hello), appendFrame(nil, 2, 7, "")...))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		ctx := context.Background()
		c, _, err := NewClient(ctx, &tape{in: bytes.NewReader(in)})
		if err != nil {
			return
		}
		pin := []byte("1234")
		var calls sync.WaitGroup
		calls.Go(func() { c.Sign(ctx, SignRequest{Data: []byte("data")}) })
		calls.Go(func() { c.List(ctx, ListRequest{}) })
		calls.Go(func() { c.Decrypt(ctx, DecryptRequest{Data: []byte("data")}) })
		calls.Go(func() { c.InitToken(ctx, InitTokenRequest{PIN: pin}) })
		calls.Go(func() { c.Close(ctx) })
		calls.Wait()
		<-c.Done()
		if c.Err() == nil || !zero(pin) {
			t.Error("the connection ended without a cause, or the PIN is left")
		}
	})
}
