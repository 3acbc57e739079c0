package door

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	pb "keysetd.example/api/v1/keysetdpb"
)

// quick is for a door that meets fuzzed bytes: what is cut short must not take a test's time.
func quick(c *Config) {
	c.HeaderTimeout, c.BodyTimeout, c.IdleTimeout, c.RequestTimeout = 50*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond, time.Second
}

// FuzzHTTP throws a path and a body at the door. Whatever they are, the answer is JSON: a
// reply, or a problem with a reason word that is not "internal".
func FuzzHTTP(f *testing.F) {
	h := open(f)
	for path, body := range map[string]string{
		"keysets/default/jwt": `{"claims":{"exp":4102444800},"header":{"typ":"at+jwt"}}`, "keysets/raw/sign": `{"alg":"ES256","digest":"AAAA","encoding":"der"}`,
		"keysets/any/batch":                `{"items":[{"jwt":{"claims":{}}},{"sign":{"payload":""}},{"client_assertion":{"client_id":"c"}},{}]}`,
		"keysets/default/client-assertion": `{"client_id":"c","audience":"a","lifetime":"60s"}`, "keysets/default/rotate": `{"kid":"k"}`,
		"keysets/default/revoke": `{"all":true,"reason":"r","through":1}`, "keysets/default/freeze": `{"until":"2030-01-02T03:04:05Z"}`,
		"reload": `{"dry_run":true,"remove":["a"]}`, "policy-test": `{"uid":1,"operation":"jwt","keyset":"default","claims":{"a":1e400}}`,
		"tokens/main/accept": `{"serial":"0123"}`, "keysets/%zz/jwt": "\xff", "keysets//../jwt": "[[[[", "whoami?x": "",
	} {
		f.Add(path, []byte(body))
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://x/v1/"+path, strings.NewReader(string(body)))
			if err != nil || req.URL.Host != "x" {
				return
			}
			req.Header.Set("Content-Type", "application/json")
			resp, reply := h.send(t, req)
			kind := resp.Header.Get("Content-Type")
			if resp.StatusCode == 400 && strings.HasPrefix(kind, "text/plain") { // net/http's own
				continue
			}
			if resp.StatusCode == 500 || kind != "application/json" && (kind != "application/problem+json" || !strings.Contains(reply, `"reason":"`)) {
				t.Fatalf("%s %q %q: %s %s", method, path, body, resp.Status, reply)
			}
		}
	})
}

// FuzzConnection throws bytes at a connection, in either language. It ends, and the door
// goes on.
func FuzzConnection(f *testing.F) {
	h := open(f, quick)
	frames := preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	header := string(requestHeader(pb.Signer_Sign_FullMethodName))
	for _, s := range []string{
		"", "GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n", preface, preface[:10], "PRI * HTTP/1.1\r\n\r\n", frames,
		frames + "\x00\x00" + string(rune(len(header))) + "\x01\x04\x00\x00\x00\x01" + header,
		frames + "\x00\x00" + string(rune(len(header))) + "\x01\x05\x00\x00\x00\x01" + header,
		frames + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678", frames + "\xff\xff\xff\x00\x00\x00\x00\x00\x01",
		"POST /v1/keysets/raw/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"alg\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := h.dial(t)
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		go func() { // and say that this was all: silence has tests of its own, and takes time
			c.Write(sent)
			c.(*net.UnixConn).CloseWrite()
		}()
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("%q: the connection is still open", sent)
		}
		if resp, body := h.do(t, "GET", "/v1/whoami", ""); resp.StatusCode != 200 {
			t.Fatalf("%q: afterwards %s %s", sent, resp.Status, body)
		}
	})
}

// raw is a codec for bytes that need not be a message.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

// FuzzMessage throws bytes at a method. Whatever they are, the answer is a reply, or a status
// with a reason word; gRPC's own where they are no message.
func FuzzMessage(f *testing.F) {
	h := open(f)
	c := h.grpc(f)
	names := []string{
		pb.Signer_SignJWT_FullMethodName, pb.Signer_Sign_FullMethodName, pb.Signer_Batch_FullMethodName,
		pb.Signer_SignClientAssertion_FullMethodName, pb.Keysets_Freeze_FullMethodName, pb.Keysets_History_FullMethodName,
		pb.Keysets_Revoke_FullMethodName, pb.Admin_Reload_FullMethodName, pb.Admin_PolicyTest_FullMethodName,
	}
	for i, m := range []proto.Message{
		&pb.SignJWTRequest{Keyset: "default", Input: &pb.SignJWTRequest_Claims{Claims: []byte(`{"exp":1e400}`)}, Header: []byte(`{"typ":"a"}`)},
		&pb.SignRequest{Keyset: "raw", Alg: "ES256", Input: &pb.SignRequest_Digest{Digest: make([]byte, 31)}},
		&pb.BatchRequest{Keyset: "any", Items: []*pb.BatchItem{{}, {Item: &pb.BatchItem_Jwt{Jwt: &pb.SignJWTRequest{Header: []byte("{}")}}}}},
		&pb.SignClientAssertionRequest{Keyset: "default", ClientId: "c", Audience: "a", Lifetime: "60s"},
		&pb.FreezeRequest{Keyset: "default"}, &pb.HistoryRequest{Keyset: "default", Limit: -1}, &pb.RevokeRequest{Keyset: "default", All: true, Reason: "r"},
		&pb.ReloadRequest{Remove: []string{"a"}}, &pb.PolicyTestRequest{Operation: "jwt", Keyset: "default", Claims: []byte("{")},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Add(uint8(0), []byte("\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, method uint8, message []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var reply []byte
		err := c.Invoke(ctx, names[int(method)%len(names)], &message, &reply, grpc.ForceCodec(raw{}))
		s := status.Convert(err)
		if s.Code() == codes.OK || s.Code() == codes.Internal && strings.Contains(s.Message(), "unmarshal") || s.Code() == codes.ResourceExhausted {
			return
		}
		details := s.Details()
		if s.Code() == codes.Unavailable && len(details) == 0 {
			// Thousands that are no message are as good as abandoned, which ended the connection;
			// the next request makes a new one.
			return
		}
		if len(details) == 0 || s.Code() == codes.Internal {
			t.Fatalf("%q: %v", message, s)
		}
		if info, ok := details[0].(*errdetails.ErrorInfo); !ok || info.GetReason() == "" {
			t.Fatalf("%q: %v", message, s)
		}
	})
}
