package door

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
)

// Half a request and silence ends, and nobody else notices.
func TestHalfARequestAndSilence(t *testing.T) {
	h := open(t, func(c *Config) {
		c.HeaderTimeout, c.BodyTimeout, c.IdleTimeout = 100*time.Millisecond, 200*time.Millisecond, 300*time.Millisecond
	})
	const head = "POST /v1/keysets/default/jwt HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
	for name, test := range map[string]struct {
		sent string
		want string // what comes back, if anything, begins so
	}{
		"nothing":         {"", ""},
		"half a line":     {"POST /v1/key", ""},
		"half a header":   {head, ""},
		"no body":         {head + "\r\n", "HTTP/1.1 400 "},
		"half a body":     {head + "\r\n" + `{"claims":{`, "HTTP/1.1 400 "},
		"half, in chunks": {strings.Replace(head, "Content-Length: 100", "Transfer-Encoding: chunked", 1) + "\r\nb\r\n" + `{"claims":{` + "\r\n", "HTTP/1.1 400 "},
		"idle afterwards": {"GET /v1/keysets/enc HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
		"HTTP/2 preface":  {preface, "\x00\x00"}, // and the server's settings
		"half a preface":  {preface[:20], ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent := h.dial(t)
			io.WriteString(silent, test.sent)
			if resp, body := h.do(t, "POST", "/v1/keysets/default/jwt", `{"claims":`+claims("")+`}`); resp.StatusCode != 200 {
				t.Errorf("another caller: %s %s", resp.Status, body)
			}
			silent.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := io.ReadAll(silent)
			if err != nil {
				t.Fatalf("the connection was not ended: %v", err)
			}
			if !strings.HasPrefix(string(got), test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if strings.Contains(test.want, "400") && !strings.Contains(string(got), "did not arrive in time") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestEndlessHeader(t *testing.T) {
	h := open(t)
	c := h.dial(t)
	go fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n", strings.Repeat("a", 64<<10))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestRequestTimeout(t *testing.T) {
	h := open(t, func(c *Config) { c.RequestTimeout = 50 * time.Millisecond })
	h.Keys[keyspec.P256].Hook(func(ctx context.Context) { <-ctx.Done() })
	resp, body := h.do(t, "POST", "/v1/keysets/default/jwt", `{"claims":`+claims("")+`}`)
	checkProblem(t, "timeout", resp, body, 504, v1.DeadlineExceeded, "")
}

// A caller that hangs up ends its request, and the log says what became of it.
func TestHangUp(t *testing.T) {
	h := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	h.Keys[keyspec.P256].Hook(func(ctx context.Context) {
		cancel()
		<-ctx.Done()
		ended <- context.Cause(ctx)
	})
	req, _ := http.NewRequestWithContext(ctx, "POST", "http://x/v1/keysets/default/jwt", strings.NewReader(`{"claims":`+claims("")+`}`))
	req.Header.Set("Content-Type", "application/json")
	if _, err := h.client.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); h.Audit.Last().Outcome != audit.Failed; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log ends with %+v", h.Audit.Last())
		}
	}
}

// FuzzJWTBody throws bytes at the door. Whatever they are, the answer is a token whose
// payload is among them, or a problem with a reason word.
func FuzzJWTBody(f *testing.F) {
	h := open(f)
	for _, s := range []string{
		`{"claims":{"exp":4102444800}}`, `{"claims":{"exp":1e400}}`, `{"signing_input":"e30.e30"}`, `{"claims":{"a":{},"a":1}}`,
		`{"header":{"typ":"at+jwt","alg":"none"},"claims":{}}`, `{"claims":null,"alg":null}`, `[]`, "\xff", `{"claims":[[[[`, `{"alg":"ES256"}{}`,
	} {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"claims":` + claims("") + `}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		resp, reply := h.do(t, "POST", "/v1/keysets/default/jwt", string(body))
		switch {
		case resp.StatusCode == 200 && strings.Contains(reply, `"token":"ey`):
		case resp.StatusCode >= 400 && resp.StatusCode < 500 && strings.Contains(reply, `"reason":"`):
		default:
			t.Fatalf("%q: %s %s", body, resp.Status, reply)
		}
	})
}
