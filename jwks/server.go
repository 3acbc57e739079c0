package jwks

import (
	"log/slog"
	"net/http"
	"time"
)

// What one client of the public door can hold on to. Requests are a line and a few headers and
// answers a few kilobytes, so whoever needs longer than this is not fetching keys.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second // from accept or the request's first byte to the end of its body
	answerTimeout  = 10 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 8 << 10 // net/http allows 4 KiB more
)

// NewServer makes the HTTP server for a public door, with limits for clients that are slow,
// silent or large. What net/http has to say goes to log as errors. Listening and Shutdown are
// the caller's.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      handler,
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  requestTimeout,
		WriteTimeout:                 answerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // GET and HEAD are all there is, for "*" too
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelError),
	}
}
