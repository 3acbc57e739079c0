// Package client speaks to keysetd over its Unix socket. It is pure Go.
//
//	c, err := client.Dial("")
//	reply, err := c.SignJWT(ctx, "default", &v1.JWTRequest{Claims: claims})
//	if errors.Is(err, client.ErrNotGranted) { … }
package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

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
	socket string
	http   *http.Client
}

// Dial returns a client for the daemon at socket. An empty socket stands for the one that
// KEYSETD_SOCKET names, or else DefaultSocket. Nothing is connected yet: the daemon may
// start after its callers, and it may be restarted under them.
func Dial(socket string) (*Client, error) {
	if socket == "" {
		socket = os.Getenv(SocketVariable)
	}
	if socket == "" {
		socket = DefaultSocket
	}
	if limit := len(syscall.RawSockaddrUnix{}.Path) - 1; len(socket) > limit {
		return nil, fmt.Errorf("the path of keysetd's socket, %s, has %d bytes and a socket's can have %d", socket, len(socket), limit)
	}
	c := &Client{socket: socket}
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

// SignJWT has the keyset sign claims or a signing input. The claims become the token's
// payload byte for byte.
func (c *Client) SignJWT(ctx context.Context, keyset string, req *v1.JWTRequest) (*v1.JWTReply, error) {
	body, err := jwtBody(req)
	if err != nil {
		return nil, err
	}
	return call[v1.JWTReply](ctx, c, http.MethodPost, path(keyset)+"/jwt", body, repeatable)
}

// Sign has the keyset sign a payload or a digest.
func (c *Client) Sign(ctx context.Context, keyset string, req *v1.SignRequest) (*v1.SignReply, error) {
	return post[v1.SignReply](ctx, c, path(keyset)+"/sign", req, repeatable)
}

// Keysets returns the state of every keyset that the caller may read, and of the tokens.
func (c *Client) Keysets(ctx context.Context) (*v1.KeysetList, error) {
	return get[v1.KeysetList](ctx, c, "/v1/keysets")
}

// Keyset returns the state of one keyset.
func (c *Client) Keyset(ctx context.Context, keyset string) (*v1.Keyset, error) {
	return get[v1.Keyset](ctx, c, path(keyset))
}

// PINRetry allows one more login to a token whose PIN was refused, and returns how the
// token is. It does not wait for what becomes of the login.
func (c *Client) PINRetry(ctx context.Context, token string) (*v1.Token, error) {
	return call[v1.Token](ctx, c, http.MethodPost, "/v1/tokens/"+url.PathEscape(token)+"/pin-retry", nil, repeatable)
}

// Accept makes a token that was refused because of its serial number the one that is meant, and
// returns how it is. serial is the token's FoundSerial.
func (c *Client) Accept(ctx context.Context, token, serial string) (*v1.Token, error) {
	return post[v1.Token](ctx, c, "/v1/tokens/"+url.PathEscape(token)+"/accept", &v1.AcceptRequest{Serial: serial}, repeatable)
}

func path(keyset string) string { return "/v1/keysets/" + url.PathEscape(keyset) }

// jwtBody writes req. The claims are put in as they are, where an encoder would compact
// them and so change what is signed.
func jwtBody(req *v1.JWTRequest) ([]byte, error) {
	rest := *req
	rest.Claims = nil
	body, err := json.Marshal(&rest)
	if err != nil {
		return nil, fmt.Errorf("writing the request: %w", err)
	}
	if len(req.Claims) == 0 {
		return body, nil
	}
	if !req.Claims.IsValid() { // or they could end early and become members of the request
		return nil, fmt.Errorf("writing the request: %w", &v1.Error{
			Reason: v1.BadClaims, Field: "/claims", Detail: "the claims are not valid JSON with each member once, so they were not sent",
		})
	}
	spliced := append([]byte(`{"claims":`), req.Claims...)
	if len(body) > len("{}") {
		spliced = append(spliced, ',')
	}
	return append(spliced, body[1:]...), nil
}
