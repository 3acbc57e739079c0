package door

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/signing/signingtest"
)

// house is a server on a real socket.
type house struct {
	*signingtest.World
	socket  string
	metrics *Metrics
	log     *lockedBuffer
	client  *http.Client
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ksd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// open starts a server that grants the test's own uid everything.
func open(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	h, _ := openServer(t, change...)
	return h
}

// serve is open with another listener.
func serve(t testing.TB, listener func(net.Listener) net.Listener, change ...func(*Config)) *house {
	t.Helper()
	h, _ := start(t, listener, change...)
	return h
}

func openServer(t testing.TB, change ...func(*Config)) (*house, *Server) {
	t.Helper()
	return start(t, func(l net.Listener) net.Listener { return l }, change...)
}

func start(t testing.TB, listener func(net.Listener) net.Listener, change ...func(*Config)) (*house, *Server) {
	t.Helper()
	h := &house{
		World:  signingtest.New(t, signingtest.All(uint32(os.Getuid()))),
		socket: filepath.Join(shortDir(t), "s"), metrics: NewMetrics(), log: new(lockedBuffer),
	}
	config := Config{Service: h.Service, Metrics: h.metrics, Logger: slog.New(slog.NewTextHandler(h.log, nil))}
	h.Service.Logger = config.Logger
	if err := h.metrics.Register(prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&config)
	}
	l, err := Listen(h.socket, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	server := New(config)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener(l)); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.socket)
	}}
	h.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		serving.Wait()
	})
	return h, server
}

// do sends a request with a JSON body and returns the reply and its body.
func (h *house) do(t testing.TB, method, path, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return h.send(t, req)
}

func (h *house) send(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func (h *house) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// by is how the history names the test's own user.
func (h *house) by() string { return fmt.Sprintf("uid %d", os.Getuid()) }

// processGroups are the supplementary groups of the test, sorted.
func processGroups(t testing.TB) []uint32 {
	t.Helper()
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for _, g := range groups {
		ids = append(ids, uint32(g))
	}
	slices.Sort(ids)
	return ids
}
