package door

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"keysetd.example/signing"
)

// Config is what a Server is made of. Service, Metrics and Logger are required.
type Config struct {
	Service *signing.Service
	Metrics *Metrics
	Logger  *slog.Logger

	// HeaderTimeout is how long a request's header may take to arrive. Unset: 5 s.
	HeaderTimeout time.Duration
	// BodyTimeout is the same for header and body together. Unset: 10 s.
	BodyTimeout time.Duration
	// IdleTimeout is how long a connection may lie idle between requests. Unset: 5 min.
	IdleTimeout time.Duration
	// RequestTimeout is how long a request may take from when its header is there until its
	// reply is ready. A caller that wants less hangs up, which ends its request. Unset: 10 s.
	// The acts of operators have a minute.
	RequestTimeout time.Duration
}

// maxHeader bounds a request's header, in bytes (net/http adds 4 KiB of its own).
const maxHeader = 8 << 10

// Server answers on the socket.
type Server struct {
	config Config
	http   *http.Server
}

// New returns a server.
func New(c Config) *Server {
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 5*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 10*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Minute)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 10*time.Second)

	var http1 http.Protocols
	http1.SetHTTP1(true)
	s := &Server{config: c}
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
// http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(l) }

// Shutdown stops listening, removes the socket, and waits for the requests under way. When ctx
// ends first, their connections are cut and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}
