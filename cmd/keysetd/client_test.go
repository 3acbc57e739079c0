package main_test

import (
	"context"
	"net"
	"net/http"
	"time"
)

// client speaks to the daemon's socket, and keeps its connection.
func (d *daemon) client() *http.Client {
	return &http.Client{
		Timeout: 15 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
		}},
	}
}
