package jwks_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/jwks"
)

// serve runs the real server and returns its address.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := jwks.NewServer(h, slog.New(slog.NewTextHandler(t.Output(), nil)))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// raw sends bytes to the server and returns its answer; the connection stays open behind them.
func raw(t *testing.T, addr, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(4 * time.Second)); err != nil { // below every limit of the server
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return resp
}

func TestServerHeadIsGet(t *testing.T) {
	addr := serve(t, door(t))
	for _, target := range []string{path, "/pf/JWKS", "/healthz", "/readyz", "/none"} {
		var got [2]string
		for i, method := range []string{"GET", "HEAD"} {
			resp := raw(t, addr, method+" "+target+" HTTP/1.1\r\nHost: keys.example\r\n\r\n")
			b := text(t, resp)
			if method == "GET" && (int64(len(b)) != resp.ContentLength || b == "") || method == "HEAD" && b != "" {
				t.Errorf("%s %s: %d bytes, Content-Length %d", method, target, len(b), resp.ContentLength)
			}
			resp.Header.Del("Date") // may have moved on
			if target == path || target == "/pf/JWKS" {
				maxAge(t, resp) // is another for each answer
				resp.Header.Del("Cache-Control")
			}
			got[i] = fmt.Sprint(resp.StatusCode, resp.ContentLength, resp.Header)
		}
		if got[0] != got[1] {
			t.Errorf("%s\nGET  %s\nHEAD %s", target, got[0], got[1])
		}
	}
}

func TestServerOddRequests(t *testing.T) {
	addr := serve(t, door(t))
	const get = "GET " + path + " HTTP/1.1\r\nHost: keys.example\r\n"
	for name, tc := range map[string]struct {
		request string
		want    int
	}{
		"a body that does not come":       {get + "Content-Length: 100\r\n\r\n", 200},
		"a chunked body that does not":    {get + "Transfer-Encoding: chunked\r\n\r\n", 200},
		"a body that waits to be wanted":  {get + "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n", 200},
		"a posted body that does not":     {"POST " + path + " HTTP/1.1\r\nHost: keys.example\r\nContent-Length: 100\r\n\r\n", 405},
		"HTTP/1.0":                        {"GET " + path + " HTTP/1.0\r\n\r\n", 200},
		"the whole URL":                   {"GET http://keys.example" + path + " HTTP/1.1\r\nHost: keys.example\r\n\r\n", 200},
		"OPTIONS *":                       {"OPTIONS * HTTP/1.1\r\nHost: keys.example\r\n\r\n", 404},
		"CONNECT":                         {"CONNECT keys.example:443 HTTP/1.1\r\nHost: keys.example:443\r\n\r\n", 404},
		"headers of 16 KiB":               {get + "Cookie: " + strings.Repeat("c", 16<<10) + "\r\n\r\n", 431},
		"a broken escape":                 {"GET /keysets/%zz/jwks.json HTTP/1.1\r\nHost: keys.example\r\n\r\n", 400},
		"headers of 6 KiB, as behind SSO": {get + "Cookie: " + strings.Repeat("c", 6<<10) + "\r\n\r\n", 200},
	} {
		t.Run(name, func(t *testing.T) {
			if resp := raw(t, addr, tc.request); resp.StatusCode != tc.want {
				t.Errorf("%d, want %d", resp.StatusCode, tc.want)
			}
		})
	}
}

// A client that begins a request and falls silent is sent away.
func TestServerSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		srv := jwks.NewServer(door(t), slog.New(slog.NewTextHandler(t.Output(), nil)))
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ln) }()
		client, server := net.Pipe()
		ln.conns <- server
		if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost:"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := io.ReadAll(client); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("silence was borne for %v", d)
		}
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		<-done
	})
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }
