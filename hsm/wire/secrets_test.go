package wire

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// zero looks at all of b's memory, to its capacity.
func zero(b []byte) bool { return bytes.Count(b[:cap(b)], []byte{0}) == cap(b) }

// secret is a PIN that is long enough to be told from chance.
const secret = "correct-horse-battery-staple"

func secretFrames() map[Op][]byte {
	frames := map[Op][]byte{}
	for op, b := range map[Op]body{
		OpLogin:     LoginRequest{PIN: []byte(secret)},
		OpInitToken: InitTokenRequest{Label: "l", SOPIN: []byte("so-" + secret), PIN: []byte(secret)},
	} {
		frames[op] = appendFrame(nil, 1, uint8(op), string(b.append(nil)))
	}
	return frames
}

// After a frame was taken the reader holds nothing of it, however its bytes came and
// whatever came behind them.
func TestReaderKeepsNoSecret(t *testing.T) {
	for op, f := range secretFrames() {
		behind := string(appendFrame(nil, 2, uint8(OpSign), "behind it"))
		stream := strings.Repeat(string(f)+behind, 3000) // beyond the buffer, so that frames straddle its end
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r },
			"halves":  iotest.HalfReader,
			"bytes":   iotest.OneByteReader,
		} {
			r := newReader(wrap(strings.NewReader(stream)))
			for i := 0; ; i++ {
				got, err := r.frame()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(got.body, []byte(secret)) != (i%2 == 0) {
					t.Fatalf("%s, %s: frame %d is wrong", op, name, i)
				}
				if !zero(r.buf[:r.start:r.start]) || !zero(r.buf[r.end:]) {
					t.Fatalf("%s, %s: bytes that were taken are still in the buffer", op, name)
				}
			}
			if !zero(r.buf) {
				t.Errorf("%s, %s: the buffer is not empty", op, name)
			}
		}
	}
}

// A frame that is cut short leaves nothing either, of whatever length.
func TestReaderForgetsWhatWasCutShort(t *testing.T) {
	for op, f := range secretFrames() {
		for n := 1; n < len(f); n++ {
			r := newReader(bytes.NewReader(f[:n]))
			if _, err := r.frame(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s, %d bytes: %v", op, n, err)
			}
			if !zero(r.buf) {
				t.Fatalf("%s, %d bytes: some are still in the buffer", op, n)
			}
		}
	}
}

// outgrown hands out memory with a secret in it and looks at it again in the end.
type outgrown struct{ filled [][]byte }

func (o *outgrown) Read(p []byte) (int, error) {
	if len(o.filled) > 3 {
		return 0, io.ErrUnexpectedEOF
	}
	for i := range p {
		p[i] = 'x'
	}
	o.filled = append(o.filled, p)
	return len(p), nil
}

func TestReaderClearsWhatItOutgrows(t *testing.T) {
	var o outgrown
	if _, err := newReader(&o).body(MaxFrame); err == nil {
		t.Fatal("no error")
	}
	for i, b := range o.filled[:len(o.filled)-1] {
		if !zero(b[:len(b):len(b)]) {
			t.Errorf("piece %d was left behind", i)
		}
	}
}

// A request's memory is sized once: had append to grow, what it left would not be zeroed.
func TestSizesAreExact(t *testing.T) {
	for _, b := range []body{
		LoginRequest{}, LoginRequest{PIN: []byte(secret)},
		InitTokenRequest{}, InitTokenRequest{Label: "label", SOPIN: []byte("so"), PIN: []byte(secret)},
		DecryptRequest{}, DecryptRequest{Key: Ref{ID: []byte("id"), Label: "label"}, Data: []byte("data")},
		SignRequest{}, SignRequest{Key: Ref{ID: []byte("id"), Label: "label"}, Data: []byte("data")},
		raw(nil), raw("{}"),
	} {
		if got := len(b.append(nil)); got != b.size() {
			t.Errorf("%T says %d and takes %d", b, b.size(), got)
		}
	}
}

// The client's buffer is zero after every request, sent or failed.
func TestClientKeepsNoSecret(t *testing.T) {
	for _, failing := range []bool{false, true} {
		var w writer
		conn := &sink{fail: failing}
		w.init(conn)
		for n := range 200 {
			pin := bytes.Repeat([]byte(secret), n)
			if err := w.acquire(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			err := w.write(1, OpLogin, LoginRequest{PIN: pin}, nil)
			if (err != nil) != failing {
				t.Fatal(err)
			}
			if !zero(conn.last) || !zero(w.buf) {
				t.Fatalf("a request with %d bytes of PIN was left in memory", len(pin))
			}
		}
	}
}

// sink remembers the memory, not the content, of the last write.
type sink struct {
	fail bool
	last []byte
}

func (s *sink) Write(p []byte) (int, error) {
	s.last = p
	if s.fail {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// The PIN that a backend was given is zero once it has returned, and no call that
// carried it is shown in an error.
func TestServerKeepsNoSecret(t *testing.T) {
	var kept [][]byte
	s := &server{backend: &backend{
		login: func(r LoginRequest) error { kept = append(kept, r.PIN); return errNotSet },
		init: func(r InitTokenRequest) (TokenInfo, error) {
			kept = append(kept, r.SOPIN, r.PIN)
			return TokenInfo{}, errNotSet
		},
	}}
	for op, b := range map[Op]body{
		OpLogin:     LoginRequest{PIN: []byte(secret)},
		OpInitToken: InitTokenRequest{Label: "l", SOPIN: []byte(secret), PIN: []byte(secret)},
	} {
		body := b.append(nil)
		s.do(op, body, &Timing{})
		if !zero(body[:len(body):len(body)]) {
			t.Errorf("%s: the body is left", op)
		}
		for n := range body { // and when it is malformed
			cut := b.append(nil)[:n:n]
			if _, err := s.do(op, cut, &Timing{}); err != nil && strings.Contains(err.Error(), secret[:4]) {
				t.Errorf("%s: the error tells the PIN", op)
			}
			if !zero(cut) {
				t.Errorf("%s: the body cut to %d is left", op, n)
			}
		}
	}
	for _, pin := range kept {
		if !zero(pin[:len(pin):len(pin)]) {
			t.Error("the backend's PIN was not zeroed")
		}
	}
}

// The strongest form: after a login and an init-token over a real socket pair no copy
// of the PIN is anywhere in this process, which has both ends.
func TestNoCopyInTheProcess(t *testing.T) {
	mask, masked := make([]byte, 48), make([]byte, 48)
	rand.Read(mask)
	rand.Read(masked)
	pin := func() []byte {
		p := make([]byte, len(mask))
		for i := range p {
			p[i] = mask[i] ^ masked[i]
		}
		return p
	}
	c, _ := start(t, &backend{
		login: func(LoginRequest) error { return nil },
		init:  func(InitTokenRequest) (TokenInfo, error) { return TokenInfo{}, nil },
	})
	control := pin()
	if n := copies(t, mask, masked); n == 0 {
		t.Fatal("this test does not find what is there")
	}
	clear(control)
	if _, err := c.Login(context.Background(), LoginRequest{PIN: pin()}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.InitToken(context.Background(), InitTokenRequest{Label: "l", SOPIN: pin(), PIN: pin()}); err != nil {
		t.Fatal(err)
	}
	if n := copies(t, mask, masked); n != 0 {
		t.Errorf("%d copies of the PIN are in memory", n)
	}
}

// copies counts where mask^masked stands in this process's writable memory.
func copies(t *testing.T, mask, masked []byte) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	found := 0
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var perms string
		fmt.Sscanf(line, "%x-%x %s", &from, &to, &perms)
		const shadow = 1 << 30 // the race detector's own tables are larger than this
		if !strings.HasPrefix(perms, "rw") || to-from > shadow {
			continue
		}
		found += copiesIn(io.NewSectionReader(mem, from, to-from), mask, masked)
	}
	return found
}

func copiesIn(r io.Reader, mask, masked []byte) (found int) {
	buf := make([]byte, 1<<20)
	defer clear(buf)
	first, have := mask[0]^masked[0], 0
	for {
		n, err := r.Read(buf[have:])
		window := buf[:have+n]
		for i := 0; i+len(mask) <= len(window); i++ {
			next := bytes.IndexByte(window[i:], first)
			if next < 0 {
				break
			}
			if i += next; i+len(mask) <= len(window) && matches(window[i:], mask, masked) {
				found++
			}
		}
		if err != nil {
			return found
		}
		have = copy(buf, window[max(0, len(window)-len(mask)+1):])
	}
}

func matches(b, mask, masked []byte) bool {
	for i := range mask {
		if b[i] != mask[i]^masked[i] {
			return false
		}
	}
	return true
}
