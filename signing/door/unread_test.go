package door

import (
	"bytes"
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
)

// witness is a listener that shows the connections it accepts.
type witness struct {
	net.Listener
	accepted chan<- *conn
}

func (w witness) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.accepted <- c.(*conn)
	}
	return c, err
}

func (s *streams) waiting() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unanswered
}

// A message that cannot be read is counted and audited like a body that cannot.
func TestMessagesThatCannotBeRead(t *testing.T) {
	malformed := new(emptypb.Empty)
	malformed.ProtoReflect().SetUnknown([]byte{0x0a, 0xff}) // a string that is cut short
	for name, test := range map[string]struct {
		send   func(s grpc.ClientStream)
		code   codes.Code // which is grpc-go's
		reason v1.Reason
	}{
		"none":      {func(s grpc.ClientStream) { s.CloseSend() }, codes.Internal, v1.BadRequest},
		"malformed": {func(s grpc.ClientStream) { s.SendMsg(malformed); s.CloseSend() }, codes.Internal, v1.BadRequest},
		"too large": {func(s grpc.ClientStream) {
			s.SendMsg(&pb.SignRequest{Input: &pb.SignRequest_Payload{Payload: bytes.Repeat([]byte("x"), maxMessage)}})
		}, codes.ResourceExhausted, v1.TooLarge},
		"late": {func(grpc.ClientStream) {}, codes.DeadlineExceeded, v1.BadRequest},
	} {
		accepted := make(chan *conn, 1)
		h := serve(t, func(l net.Listener) net.Listener { return witness{l, accepted} }, func(c *Config) { c.BodyTimeout = 500 * time.Millisecond })
		s, err := h.grpc(t).NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, pb.Signer_Sign_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		test.send(s)
		err = s.RecvMsg(new(emptypb.Empty))
		if status.Code(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
		counted := h.metrics.requests.WithLabelValues(overGRPC, "sign", string(test.reason))
		for deadline := time.Now().Add(5 * time.Second); testutil.ToFloat64(counted) == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if r := h.Audit.Last(); r.Operation != "sign" || r.Outcome != audit.Refused || r.Reason != string(test.reason) || int(r.Caller.UID) != os.Getuid() || len(h.Audit.Records()) != 1 {
			t.Errorf("%s: audited as %+v", name, h.Audit.Records())
		}
		if n := testutil.ToFloat64(counted); n != 1 {
			t.Errorf("%s: %v are counted", name, n)
		}
		if c := <-accepted; c.streams.waiting() != 0 {
			t.Errorf("%s: %v count as not waited for", name, c.streams.waiting())
		}
	}
}

// A caller that goes away before its message is there has a line in the audit log, and did not wait.
func TestHalfAMessageAndGone(t *testing.T) {
	accepted := make(chan *conn, 1)
	h := serve(t, func(l net.Listener) net.Listener { return witness{l, accepted} })
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := h.grpc(t).NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, pb.Signer_Sign_FullMethodName); err != nil {
		t.Fatal(err)
	}
	c := <-accepted
	for c.streams.waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for deadline := time.Now().Add(10 * time.Second); h.Audit.Last().Reason != string(v1.BadRequest); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("audited as %+v", h.Audit.Records())
		}
	}
	if n := c.streams.waiting(); n != 1 {
		t.Errorf("%v count as not waited for", n)
	}
}
