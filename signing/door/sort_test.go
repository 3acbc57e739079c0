package door

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	pb "keysetd.example/api/v1/keysetdpb"
)

// stub is a listener whose callers are who the test says.
type stub struct {
	net.Listener
	uids chan uint32
}

func (s stub) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err == nil {
		c.(*conn).caller.UID = <-s.uids
	}
	return c, err
}

// The preface may come byte by byte, and either language gets all that was sent.
func TestPrefaceInPieces(t *testing.T) {
	h := open(t)
	for name, test := range map[string]struct{ send, want string }{
		"gRPC": {preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00"},
		"HTTP": {"PRI * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 4"},
		"GET":  {"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200"},
	} {
		c := h.dial(t)
		for i := range len(test.send) {
			if _, err := io.WriteString(c, test.send[i:i+1]); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		got := make([]byte, len(test.want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A thousand connections that say nothing take nothing from another user: the flood's own
// limit ends most at once, and the rest in time.
func TestFloodOfSilence(t *testing.T) {
	s := stub{uids: make(chan uint32)}
	h := serve(t, func(l net.Listener) net.Listener { s.Listener = l; return s }, func(c *Config) {
		c.ConnectionsPerUID, c.HeaderTimeout = 8, 30*time.Second
	})
	const flood, other = 4001, 4002
	var conns []net.Conn
	for range 1000 {
		conns = append(conns, h.dial(t))
		s.uids <- flood
	}
	go func() { s.uids <- other }()
	c := h.dial(t)
	io.WriteString(c, "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if reply, err := io.ReadAll(c); err != nil || !strings.Contains(string(reply), `{"uid":4002,`) {
		t.Fatalf("the other user: %q %v", reply, err)
	}
	if n := testutil.ToFloat64(h.metrics.refused.WithLabelValues(tooMany)); n != 992 {
		t.Errorf("%v connections were refused", n)
	}
	for i, c := range conns[8:] {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatalf("connection %d is open", i+8)
		}
	}
	// One that closes makes room for one.
	conns[0].Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		again := h.dial(t)
		s.uids <- flood
		io.WriteString(again, "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if reply, err := io.ReadAll(again); err == nil && strings.Contains(string(reply), `{"uid":4001,`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no room for another connection")
		}
	}
}

// Requests that are begun and reset without end (CVE-2023-44487) end their connection, and
// nobody else's.
func TestRapidReset(t *testing.T) {
	h := open(t)
	c := h.dial(t)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go io.Copy(io.Discard, c)
	io.WriteString(c, preface)
	f := http2.NewFramer(c, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	header := requestHeader(pb.Signer_Sign_FullMethodName)
	sent, err := 0, error(nil)
	for ; err == nil && sent < 100_000; sent++ {
		id := uint32(2*sent + 1)
		err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header, EndHeaders: true})
		if err == nil {
			err = f.WriteRSTStream(id, http2.ErrCodeCancel)
		}
	}
	if err == nil {
		t.Fatalf("%d requests were begun and reset, and the connection is open", sent)
	}
	if n := testutil.ToFloat64(h.metrics.refused.WithLabelValues(abandoner)); n != 1 {
		t.Errorf("%v connections are counted after %d resets", n, sent)
	}
	if _, err := pb.NewAdminClient(h.grpc(t)).WhoAmI(t.Context(), &pb.WhoAmIRequest{}); err != nil {
		t.Errorf("another connection: %v", err)
	}
}

// requestHeader is the header of a request over gRPC, compressed without a table.
func requestHeader(method string) []byte {
	var b strings.Builder
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSizeLimit(0)
	for _, kv := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := e.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]}); err != nil {
			panic(err)
		}
	}
	return []byte(b.String())
}

// A message that never comes ends with the time that a body has.
func TestMessageThatNeverComes(t *testing.T) {
	h := open(t, func(c *Config) { c.BodyTimeout, c.RequestTimeout = 100*time.Millisecond, 100*time.Millisecond })
	c := h.dial(t)
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, preface)
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: requestHeader(pb.Signer_Sign_FullMethodName), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("nobody answered: %v", err)
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			return
		}
	}
}

func TestStreams(t *testing.T) {
	var s streams
	now := time.Unix(1e9, 0)
	for i := range 10 * maxAbandoned { // a caller that waits for its replies may go on for ever
		if ok, _ := s.begin(now); !ok {
			t.Fatalf("refused at request %d", i)
		}
		s.answered()
	}
	begun := 0
	for ok := true; ok; begun++ {
		ok, _ = s.begin(now)
	}
	if begun-1 != maxAbandoned+maxStreams {
		t.Errorf("%d requests were begun", begun-1)
	}
	if _, again := s.begin(now); again {
		t.Error("told for the first time again")
	}
	s = streams{}
	for i := range 10 * maxAbandoned { // and so may one that abandons few enough
		if ok, _ := s.begin(now.Add(time.Duration(i) * time.Second / abandonedASecond)); !ok {
			t.Fatalf("refused at request %d", i)
		}
	}
}

// TestPeerGroups: the kernel tells all supplementary groups of who connected.
func TestPeerGroups(t *testing.T) {
	h := open(t)
	own, err := pb.NewAdminClient(h.grpc(t)).WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := processGroups(t)
	if got := slices.Sorted(slices.Values(own.GetGroups())); !slices.Equal(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
}
