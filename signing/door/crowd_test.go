package door

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	pb "keysetd.example/api/v1/keysetdpb"

	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// town is a house whose callers are who the test says; users of 7001 to 7009 are granted everything.
func town(t *testing.T, change ...func(*Config)) (*house, *Server, chan<- uint32) {
	t.Helper()
	uids := make(chan uint32)
	h, server := start(t, func(l net.Listener) net.Listener { return stub{l, uids} }, change...)
	var grants []policy.Rule
	for uid := uint32(7001); uid < 7010; uid++ {
		grants = append(grants, signingtest.All(uid))
	}
	h.Service.Swap(h.State(t, grants...))
	return h, server, uids
}

func (h *house) dialAs(t *testing.T, uids chan<- uint32, uid uint32) net.Conn {
	t.Helper()
	c := h.dial(t)
	uids <- uid
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// request sends one and returns the reply with all that follows.
func (h *house) requestAs(t *testing.T, uids chan<- uint32, uid uint32, method, path, body string) string {
	t.Helper()
	c := h.dialAs(t, uids, uid)
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	reply, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(reply)
}

const ed25519Body = `{"alg":"EdDSA","payload":"aGk="}`

// Where all of a class is taken, one with fewer gets the place of the greediest's longest silent, and the
// other classes notice nothing.
func TestFullDoor(t *testing.T) {
	h, _, uids := town(t, func(c *Config) { c.HeaderTimeout = time.Minute })
	var first net.Conn
	for i := range maxStrangers {
		c := h.dialAs(t, uids, 4000+uint32(i/maxOfStranger))
		if i == 0 {
			first = c
		}
	}
	if got := h.requestAs(t, uids, 4000, "GET", "/v1/whoami", ""); strings.Contains(got, "200 OK") {
		t.Errorf("a ninth connection of a stranger: %s", got)
	}
	if got := h.requestAs(t, uids, 5000, "GET", "/v1/whoami", ""); !strings.Contains(got, `{"uid":5000,`) {
		t.Errorf("another stranger: %s", got)
	}
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the longest silent connection: %v", err)
	}
	for _, uid := range []uint32{7001, 0} {
		if got := h.requestAs(t, uids, uid, "GET", "/v1/whoami", ""); !strings.Contains(got, fmt.Sprintf(`{"uid":%d,`, uid)) {
			t.Errorf("uid %d: %s", uid, got)
		}
	}
	if n := testutil.ToFloat64(h.metrics.refused.WithLabelValues(displaced)); n != 1 {
		t.Errorf("%v connections were displaced", n)
	}
}

// Hundreds of half-sent bodies take no more memory than there is for them, and another user
// signs beside them.
func TestHalfSentBodies(t *testing.T) {
	h, server, uids := town(t)
	half := fmt.Sprintf("POST /v1/keysets/raw/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"+
		`{"alg":"EdDSA","payload":"%s`, strings.Repeat("A", 128<<10))
	var conns []net.Conn
	for i := range 600 {
		c := h.dialAs(t, uids, 7001+uint32(i%5))
		conns = append(conns, c)
		if _, err := io.WriteString(c, half); err != nil {
			t.Fatal(err)
		}
		if total, most := server.bodies.held(); total > maxBodies || most > maxBodiesOfOne {
			t.Fatalf("%d bytes are held, %d by one user", total, most)
		}
	}
	refused := h.metrics.requests.WithLabelValues(overHTTP, "sign", "overloaded")
	for deadline := time.Now().Add(5 * time.Second); testutil.ToFloat64(refused) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was refused")
		}
	}
	total, most := server.bodies.held()
	t.Logf("%d half-sent bodies hold %d bytes, one user's %d", len(conns), total, most)
	if got := h.requestAs(t, uids, 7009, "POST", "/v1/keysets/raw/sign", ed25519Body); !strings.Contains(got, "200 OK") {
		t.Errorf("another user: %s", got)
	}
	for _, c := range conns {
		c.Close()
	}
	nothingHeld(t, server)
}

func (b *budget) held() (total, most int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.taken {
		most = max(most, n)
	}
	return b.total, most
}

// nothingHeld checks that all is given back in the end.
func nothingHeld(t *testing.T, server *Server) {
	t.Helper()
	p := server.grpc.places
	for _, b := range []*budget{p.bodies, p.begun, p.visits, p.strange, p.watches} {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			n, _ := b.held()
			if n == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d %s are held by nobody", n, b.what)
			}
		}
	}
}

// begin begins n requests on a connection, each with part of a message, and reads until as
// many as want have been answered.
func beginHalf(t *testing.T, c net.Conn, n, part int, want int) {
	t.Helper()
	io.WriteString(c, preface)
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	message := append([]byte{0, 0, 0x10, 0, 0}, bytes.Repeat([]byte("A"), part)...) // of 1 MiB
	go func() {
		for i := range n {
			id := uint32(2*i + 1)
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: requestHeader(pb.Signer_Sign_FullMethodName), EndHeaders: true}) != nil ||
				f.WriteData(id, false, message) != nil {
				return
			}
		}
	}()
	for answered := 0; answered < want; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("after %d answers: %v", answered, err)
		}
		if h, ok := frame.(*http2.HeadersFrame); ok && h.StreamEnded() {
			answered++
		}
	}
}

// The same over gRPC: what has begun has a bound, and what is read.
func TestHalfSentMessages(t *testing.T) {
	h, server, uids := town(t, func(c *Config) { c.BodyTimeout = time.Minute })
	for i := range 4 {
		want := 0
		if i >= 2 { // 512 have begun; these are refused
			want = 230
		}
		beginHalf(t, h.dialAs(t, uids, 7001), 250, 100, want)
		if i == 1 { // until they are there
			for n := int64(0); n < 500; n, _ = server.grpc.places.begun.held() {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // as many as may are being read
		if _, most := server.bodies.held(); most+maxMessage > maxBodiesOfOne {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("messages are read that nobody counts")
		}
	}
	begun, _ := server.grpc.places.begun.held()
	total, most := server.bodies.held()
	t.Logf("a thousand half-sent messages: %d have begun, and hold %d bytes beside their windows", begun, total)
	if begun > 512 || most > maxBodiesOfOne {
		t.Errorf("%d have begun, and hold %d", begun, most)
	}
	go func() { uids <- 7002 }()
	other := pb.NewSignerClient(h.grpc(t))
	for range 10 {
		if _, err := other.Sign(t.Context(), &pb.SignRequest{Keyset: "raw", Alg: "EdDSA", Input: &pb.SignRequest_Payload{Payload: []byte("x")}}); err != nil {
			t.Errorf("another user: %v", err)
		}
	}
	go func() { uids <- 7001 }()
	_, err := pb.NewSignerClient(h.grpc(t)).Sign(t.Context(), &pb.SignRequest{Keyset: "raw"})
	checkStatus(t, "the same user", err, codes.ResourceExhausted, "rate_limited", "")
}

// A body that comes byte by byte has no more time than one that does not come.
func TestTrickle(t *testing.T) {
	h := open(t, func(c *Config) { c.BodyTimeout, c.RequestTimeout = 300*time.Millisecond, 10*time.Second })
	trickle := func(t *testing.T, c net.Conn, send func() error) {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		ended := make(chan struct{})
		defer func() { <-ended }()
		go func() {
			defer close(ended)
			for begun := time.Now(); time.Since(begun) < 3*time.Second && send() == nil; time.Sleep(10 * time.Millisecond) {
			}
		}()
	}
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		c, begun := h.dial(t), time.Now()
		io.WriteString(c, "POST /v1/keysets/raw/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
		go trickle(t, c, func() error { _, err := c.Write([]byte(" ")); return err })
		if got, _ := io.ReadAll(c); !strings.Contains(string(got), "did not arrive in time") || time.Since(begun) > 2*time.Second {
			t.Errorf("after %v: %s", time.Since(begun), got)
		}
	})
	t.Run("gRPC", func(t *testing.T) {
		t.Parallel()
		c, begun := h.dial(t), time.Now()
		io.WriteString(c, preface)
		f := http2.NewFramer(c, c)
		f.WriteSettings()
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: requestHeader(pb.Signer_Sign_FullMethodName), EndHeaders: true})
		f.WriteData(1, false, []byte{0, 0, 0x10, 0, 0})
		go trickle(t, c, func() error { return f.WriteData(1, false, []byte("A")) })
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatalf("nobody answered: %v", err)
			}
			if h, ok := frame.(*http2.HeadersFrame); ok && h.StreamEnded() {
				break
			}
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it had %v", took)
		}
	})
}

// Streams of health and reflection have a bound, and an end.
func TestVisits(t *testing.T) {
	h, server := openServer(t, func(c *Config) { c.VisitTimeout, c.WatchTimeout = time.Second, 2*time.Second })
	c := h.grpc(t)
	reflect := func() (reflectionpb.ServerReflection_ServerReflectionInfoClient, error) {
		stream, err := reflectionpb.NewServerReflectionClient(c).ServerReflectionInfo(t.Context())
		if err != nil {
			return nil, err
		}
		stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		_, err = stream.Recv()
		return stream, err
	}
	first, err := reflect()
	for range 7 {
		if err == nil {
			_, err = reflect()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reflect(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one reflection more: %v", err)
	}
	if _, err := first.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the first reflection ended with %v", err)
	}
	nothingHeld(t, server)
	var watches []healthpb.Health_WatchClient
	for i := range 129 {
		w, err := healthpb.NewHealthClient(c).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		if want := i == 128; (status.Code(err) == codes.ResourceExhausted) != want || !want && err != nil {
			t.Fatalf("watch %d: %v", i, err)
		}
		watches = append(watches, w)
	}
	if _, err := watches[0].Recv(); err == nil {
		t.Error("the first watch goes on")
	}
	nothingHeld(t, server)
}
