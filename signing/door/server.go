package door

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"keysetd.example/signing"
)

// Config is what a Server is made of. Service, Metrics and Logger are required. The times are
// for both languages.
type Config struct {
	Service *signing.Service
	Metrics *Metrics
	Logger  *slog.Logger

	// HeaderTimeout is how long a request's header may take to arrive, and before it how long a
	// connection may take to show its language. Unset: 5 s.
	HeaderTimeout time.Duration
	// BodyTimeout is the same for header and body together. Unset: 10 s.
	BodyTimeout time.Duration
	// IdleTimeout is how long a connection may lie idle between requests. Unset: 5 min.
	IdleTimeout time.Duration
	// RequestTimeout is how long a request may take from when its header is there (over gRPC:
	// its message) until its reply is ready. A caller that wants less hangs up, which ends its
	// request. Unset: 10 s. The acts of operators have a minute.
	RequestTimeout time.Duration
	// VisitTimeout is how long a stream over gRPC may stay open that signs nothing: reflection.
	// Unset: 1 min.
	VisitTimeout time.Duration
	// WatchTimeout is the same for a watch of the health service. Unset: 1 h.
	WatchTimeout time.Duration
	// ConnectionsPerUID is how many connections a user may have open who is granted something, and all of a
	// group together that are granted something only as such; one more is closed at once, or where
	// several share them another of theirs that is idle. Unset: 128.
	ConnectionsPerUID int
}

// maxHeader bounds a request's header, in bytes (net/http adds 4 KiB of its own).
const maxHeader = 8 << 10

// What requests may have in memory that have arrived in part, or are not answered yet: in all, and
// one caller's (policy.Identity). What is made of a body while it is read takes about twice as much again.
const (
	maxBodies      = 64 << 20
	maxBodiesOfOne = 16 << 20
)

// Server answers on the socket.
type Server struct {
	config Config
	bodies *budget // of both languages
	http   *http.Server
	grpc   *language

	mu      sync.Mutex
	sorter  *sorter // once Serve has been called
	stopped bool
}

// New returns a server.
func New(c Config) *Server {
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 5*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 10*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Minute)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 10*time.Second)
	c.VisitTimeout = cmp.Or(c.VisitTimeout, time.Minute)
	c.WatchTimeout = cmp.Or(c.WatchTimeout, time.Hour)
	c.ConnectionsPerUID = cmp.Or(c.ConnectionsPerUID, 128)

	var http1 http.Protocols
	http1.SetHTTP1(true)
	bodies := newBudget("bytes of requests", maxBodies, maxBodiesOfOne)
	s := &Server{config: c, bodies: bodies, grpc: newLanguage(c, bodies)}
	s.http = &http.Server{
		Handler:           s.routes(),
		Protocols:         &http1,
		ConnContext:       withCaller,
		ReadHeaderTimeout: c.HeaderTimeout,
		ReadTimeout:       c.BodyTimeout,
		IdleTimeout:       c.IdleTimeout,
		// A caller that does not read its reply is let go in the end.
		WriteTimeout:   c.BodyTimeout + c.RequestTimeout,
		MaxHeaderBytes: maxHeader,
		// What net/http has to say is about the callers' connections.
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers requests on l, which Listen returned, until Shutdown; then it returns
// http.ErrServerClosed. It is called once.
func (s *Server) Serve(l net.Listener) error {
	sort := &sorter{
		in: l, patient: s.config.HeaderTimeout,
		entrance: &entrance{
			identify: s.config.Service.Identity, own: uint32(os.Geteuid()), metrics: s.config.Metrics,
			admission: newAdmission[*conn](quotas(s.config.ConnectionsPerUID)),
		},
		http: newInbox(l.Addr()), grpc: newInbox(l.Addr()), silent: map[*conn]struct{}{},
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	s.sorter = sort
	s.mu.Unlock()

	// Neither ends before Shutdown: an inbox does not fail.
	go s.http.Serve(sort.http)
	go s.grpc.Serve(sort.grpc)
	if err := sort.run(); err != nil {
		return err
	}
	return http.ErrServerClosed
}

// Shutdown stops listening, removes the socket, and waits for the requests under way in both
// languages. When ctx ends first, their connections are cut and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	sort := s.sorter
	s.mu.Unlock()
	if sort != nil {
		if err := sort.close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.config.Logger.Warn("closing the socket", "error", err)
		}
	}
	var grpcErr error
	var draining sync.WaitGroup
	draining.Go(func() { grpcErr = s.grpc.shutdown(ctx) })
	httpErr := s.http.Shutdown(ctx)
	if httpErr != nil {
		s.http.Close()
	}
	draining.Wait()
	return errors.Join(httpErr, grpcErr)
}
