package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/net/netutil"

	"keysetd.example/internal/config"
	"keysetd.example/signing/door"
)

// Addresses are where the daemon listens; one that is "off" is empty.
type Addresses struct {
	Socket, Public, Metrics string
}

// drain is how long requests under way have to end after the daemon was told to stop.
const drain = 5 * time.Second

// listeners are the three doors, opened but not yet served.
type listeners struct {
	socket, public, metrics net.Listener
}

func listen(cfg *config.Config) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	gid := -1
	if g := cfg.Listen.SocketGroup; g != "" {
		if gid, err = groupID(g); err != nil {
			return l, fmt.Errorf("listen.socket_group: %w", err)
		}
	}
	if l.socket, err = door.Listen(cfg.Listen.Socket, cfg.Listen.SocketMode, gid); err != nil {
		return l, err
	}
	if l.public, err = listenTCP("listen.public", cfg.Listen.Public, maxPublic); err != nil {
		return l, err
	}
	l.metrics, err = listenTCP("listen.metrics", cfg.Listen.Metrics, maxMetrics)
	return l, err
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w; create it (groupadd --system %s) or name another", name, err, name)
	}
	return strconv.Atoi(g.Gid)
}

// Connections that are open at a time. One more waits in the kernel until another
// ends: strangers on the network must not use up the descriptors that signing needs.
const (
	maxPublic  = 512
	maxMetrics = 32
)

func listenTCP(field, addr string, connections int) (net.Listener, error) {
	if addr == "" { // off
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; stop what listens there, or set %s to another address", field, err, field)
	}
	return netutil.LimitListener(l, connections), nil
}

func (l listeners) addresses() Addresses {
	name := func(l net.Listener) string {
		if l == nil {
			return ""
		}
		return l.Addr().String()
	}
	return Addresses{name(l.socket), name(l.public), name(l.metrics)}
}

func (l listeners) close() {
	for _, l := range []net.Listener{l.socket, l.public, l.metrics} {
		if l != nil {
			l.Close()
		}
	}
}

// server is what answers on a listener.
type server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// serveUntil serves each listener until ctx ends or one of them fails, then lets what is
// under way finish.
func serveUntil(ctx context.Context, log *slog.Logger, servers map[net.Listener]server) error {
	failed := make(chan error, len(servers))
	for l, s := range servers {
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving %s: %w", l.Addr(), err)
			}
		}()
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	case err = <-failed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	for l, s := range servers {
		if shutdownErr := s.Shutdown(stop); shutdownErr != nil {
			log.Warn("requests were cut off", "address", l.Addr().String(), "error", shutdownErr)
		}
	}
	return err
}
