// Package client speaks to keysetd over its Unix socket. It is pure Go.
//
//	c, err := client.Dial("")
//	reply, err := c.SignJWT(ctx, "default", &v1.JWTRequest{Claims: claims, Alg: "ES256"})
//	if errors.Is(err, client.ErrNotGranted) { … }
//
// # What follows a rotation and what is pinned
//
// SignJWT, Sign and SignClientAssertion without a kid use whichever key signs at that moment, and
// say in the reply which one it was: a rotation goes unnoticed. A request with a kid, and a Signer,
// are pinned to one key. Once that key no longer signs they fail with ErrKidNotActive, and the
// caller asks for the key anew. Packages keysetdjose, keysetdjwt and keysetdoauth2 follow rotation.
//
// # What is retried
//
// Signing and decrypting may be repeated: nothing is changed by it. They are asked for again where
// the connection was lost before the answer, as at a restart of the daemon, and where the answer
// was unavailable, overloaded or not_ready with a time after which to ask again. The pauses begin
// at 50 ms and double up to 2 s, are no shorter than the daemon wishes, and are lengthened at random
// by up to a half, so that callers do not come back all at once. It ends with the context, at once where
// its deadline would pass in the pause or the daemon wishes for more than 5 s, and after as many
// retries as WithRetries says. A daemon that has never answered this client is not waited for.
// rate_limited is not retried, since asking again is what the limit is about. What operators do,
// and reading, is not retried either.
//
// # What is gathered
//
// Calls of SignJWT, Sign and SignClientAssertion go out alone and at once while fewer than
// WithInFlight says are under way for their keyset. Those that come meanwhile wait and go together,
// as one batch, as soon as one of these returns: so a lone call waits for nothing, and many callers
// cost few round trips. Each call keeps its own context, result and error. Who gives up leaves alone.
package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	v1 "keysetd.example/api/v1"
)

const (
	// DefaultSocket is where keysetd listens unless its configuration says otherwise.
	DefaultSocket = "/run/keysetd/keysetd.sock"
	// SocketVariable is the environment variable that names another socket.
	SocketVariable = "KEYSETD_SOCKET"
)

// Client speaks to one daemon. Its methods may be called from many goroutines.
type Client struct {
	socket  string
	http    *http.Client
	gather  *gatherer
	retries int
	reached atomic.Bool // it has answered once
}

// Dial returns a client for the daemon at socket. An empty socket stands for the one that
// KEYSETD_SOCKET names, or else DefaultSocket. Nothing is connected yet: the daemon may
// start after its callers, and it may be restarted under them.
func Dial(socket string, options ...Option) (*Client, error) {
	if socket == "" {
		socket = os.Getenv(SocketVariable)
	}
	if socket == "" {
		socket = DefaultSocket
	}
	if limit := len(syscall.RawSockaddrUnix{}.Path) - 1; len(socket) > limit {
		return nil, fmt.Errorf("the path of keysetd's socket, %s, has %d bytes and a socket's can have %d", socket, len(socket), limit)
	}
	c := &Client{socket: socket, retries: defaultRetries}
	c.gather = newGatherer(defaultInFlight, wire{c})
	for _, option := range options {
		option(c)
	}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute, // well before the daemon's own
		DisableCompression:  true,
	}}
	return c, nil
}

// Close closes the connections that lie idle. Calls under way go on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Socket is the path of the daemon's socket.
func (c *Client) Socket() string { return c.socket }

// Keysets returns the state of every keyset that the caller may read, and of the tokens.
func (c *Client) Keysets(ctx context.Context) (*v1.KeysetList, error) {
	return get[v1.KeysetList](ctx, c, "/v1/keysets")
}

// Keyset returns the state of one keyset.
func (c *Client) Keyset(ctx context.Context, keyset string) (*v1.Keyset, error) {
	return get[v1.Keyset](ctx, c, path(keyset))
}

// Keys returns the keyset's keys with their certificates, and those that were revoked.
func (c *Client) Keys(ctx context.Context, keyset string) (*v1.KeyList, error) {
	return get[v1.KeyList](ctx, c, path(keyset)+"/keys")
}

// PINRetry allows one more login to a token whose PIN was refused, and returns how the
// token is. It does not wait for what becomes of the login. It is sent once, whatever becomes of
// the connection: of a PIN's tries there are few.
func (c *Client) PINRetry(ctx context.Context, token string) (*v1.Token, error) {
	return call[v1.Token](ctx, c, http.MethodPost, "/v1/tokens/"+url.PathEscape(token)+"/pin-retry", nil, onceOnly)
}

// Accept makes a token that was refused because of its serial number the one that is meant, and
// returns how it is. serial is the token's FoundSerial. It is sent once: of what is accepted already the
// daemon knows no other serial number to accept.
func (c *Client) Accept(ctx context.Context, token, serial string) (*v1.Token, error) {
	return post[v1.Token](ctx, c, "/v1/tokens/"+url.PathEscape(token)+"/accept", &v1.AcceptRequest{Serial: serial}, onceOnly)
}

func path(keyset string) string { return "/v1/keysets/" + url.PathEscape(keyset) }
