package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"syscall"

	"github.com/go-json-experiment/json"

	v1 "keysetd.example/api/v1"
)

// maxReply bounds what is read of a reply, in bytes. The list of a thousand keysets fits.
const maxReply = 16 << 20

// repetition says whether net/http may send a request again of which it cannot tell whether
// it arrived: where the daemon was restarted, and a connection to the old one lay idle. It is for what
// changes nothing, and for acts that say what they are about so that a second one finds it done.
type repetition bool

const (
	repeatable repetition = true
	onceOnly   repetition = false
)

func get[R any](ctx context.Context, c *Client, path string) (*R, error) {
	return call[R](ctx, c, http.MethodGet, path, nil, repeatable)
}

func post[R any](ctx context.Context, c *Client, path string, req any, again repetition) (*R, error) {
	body, err := requestBody(req)
	if err != nil {
		return nil, err
	}
	return call[R](ctx, c, http.MethodPost, path, body, again)
}

func call[R any](ctx context.Context, c *Client, method, path string, body []byte, again repetition) (*R, error) {
	raw, err := c.exchange(ctx, method, path, body, again)
	if err != nil {
		return nil, err
	}
	return read[R](c, raw)
}

// read decodes a reply. A newer daemon may say more than this client knows, so unknown members pass.
func read[R any](c *Client, raw []byte) (*R, error) {
	reply := new(R)
	if err := json.Unmarshal(raw, reply); err != nil {
		return nil, fmt.Errorf("reading keysetd's reply on %s: %w", c.socket, err)
	}
	return reply, nil
}

// exchange sends one request and returns its reply's body.
func (c *Client) exchange(ctx context.Context, method, path string, body []byte, again repetition) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://keysetd"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("writing the request: %w", err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
		if again {
			req.Header["Idempotency-Key"] = nil // which lets net/http repeat it, and is not sent
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		err = c.problem(resp, raw)
		if _, told := errors.AsType[*v1.Error](err); told {
			c.reached.Store(true)
		}
		return nil, err
	}
	c.reached.Store(true)
	return raw, nil
}

// waited says of a call whose context ended what it was waiting for.
func (c *Client) waited(ctx context.Context) error {
	return fmt.Errorf("waiting for keysetd on %s: %w", c.socket, context.Cause(ctx))
}

// unreachable says which socket it was, and what to do.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return c.waited(ctx)
	}
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err // the URL is made up and would mislead
	}
	hint := "see keysetd's log"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "start keysetd, or name its socket with " + SocketVariable
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nobody listens there: start keysetd"
	case errors.Is(err, fs.ErrPermission):
		hint = "this user may not connect: add it to the group that owns the socket (ls -l shows which), and start it anew, for groups are read at the start"
	}
	return fmt.Errorf("%w on %s: %w; %s", ErrUnreachable, c.socket, err, hint)
}
