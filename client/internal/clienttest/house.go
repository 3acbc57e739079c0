// Package clienttest gives the tests of client and its adapters a daemon whose keys rotate when
// they say so: the door and the service on software keys, with a counter before them.
package clienttest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keysetd.example/client"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/signing"
	"keysetd.example/signing/door"
	"keysetd.example/signing/signingtest"
)

// House is a daemon for tests.
type House struct {
	*signingtest.World
	// Socket of the daemon.
	Socket string
	// KeyLookups counts how often it was asked which key is active.
	KeyLookups atomic.Int64
	// Batches counts the batches.
	Batches atomic.Int64
}

// Start starts one with signingtest's keysets.
func Start(t testing.TB) *House {
	t.Helper()
	h := &House{World: signingtest.New(t, signingtest.All(uint32(os.Getuid())))}
	behind := SocketPath(t)
	Serve(t, h.World, behind)
	h.Socket = SocketPath(t)
	l, err := net.Listen("unix", h.Socket)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", behind)
		},
		MaxIdleConnsPerHost: 64,
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "keysetd"})
	proxy.Transport = transport
	counted := func(n *atomic.Int64) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			proxy.ServeHTTP(w, r)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("/v1/keysets/{name}/key", counted(&h.KeyLookups))
	mux.HandleFunc("/v1/keysets/{name}/batch", counted(&h.Batches))
	server := &http.Server{Handler: mux}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
		serving.Wait()
	})
	return h
}

// Dial returns a client of the House.
func (h *House) Dial(t testing.TB, options ...client.Option) *client.Client {
	t.Helper()
	return Dial(t, h.Socket, options...)
}

// Swap makes these the House's keysets.
func (h *House) Swap(t testing.TB, keysets []signing.Keyset) {
	t.Helper()
	h.Service.Swap(h.StateOf(t, keysets, signingtest.All(uint32(os.Getuid()))))
}

// Rotate gives every keyset new EC and Ed25519 keys, and an RSA key under a new kid.
func (h *House) Rotate(t testing.TB, name string) {
	t.Helper()
	for _, spec := range signingtest.Specs {
		h.Keys[spec] = signingtest.NewKey(t, spec)
		kid, err := jwks.KeyID(h.Keys[spec].Public)
		if err != nil {
			t.Fatal(err)
		}
		if spec == keyspec.RSA2048 { // which signingtest has one of
			kid = name
		}
		h.KIDs[spec] = kid
	}
	h.Swap(t, h.Keysets())
}

// SocketPath is a path that is short enough for a socket.
func SocketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ksc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// Serve answers for w on socket until the function it returns is called.
func Serve(t testing.TB, w *signingtest.World, socket string) (stop func()) {
	t.Helper()
	l, err := door.Listen(socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	server := door.New(door.Config{Service: w.Service, Metrics: door.NewMetrics(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		serving.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// Dial returns a client that is closed with the test.
func Dial(t testing.TB, socket string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Dial(socket, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
