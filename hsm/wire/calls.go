package wire

import (
	"context"
	"encoding/json"
	"fmt"
)

func (c *Client) callJSON(ctx context.Context, op Op, request, reply any) (Timing, error) {
	b, err := json.Marshal(request)
	if err != nil {
		return Timing{}, err
	}
	body, t, err := c.call(ctx, op, raw(b))
	if err != nil {
		return t, err
	}
	return t, decodeReply(op, body, reply)
}

// decodeReply does not repeat what encoding/json says, which quotes its input.
func decodeReply(op Op, body []byte, reply any) error {
	if json.Unmarshal(body, reply) != nil {
		return fmt.Errorf("%w: %s reply", ErrFrame, op)
	}
	return nil
}

// Open loads the module and finds the token. Nobody is logged in yet.
func (c *Client) Open(ctx context.Context, r OpenRequest) (info TokenInfo, t Timing, err error) {
	t, err = c.callJSON(ctx, OpOpen, r, &info)
	return info, t, err
}

// Prepare opens the sessions. Nobody is logged in yet.
func (c *Client) Prepare(ctx context.Context, r PrepareRequest) (t Timing, err error) {
	return c.callJSON(ctx, OpPrepare, r, &struct{}{})
}

// Login logs in. It zeroes r.PIN, whatever happens.
func (c *Client) Login(ctx context.Context, r LoginRequest) (Timing, error) {
	defer clear(r.PIN)
	_, t, err := c.call(ctx, OpLogin, r)
	return t, err
}

// InitToken initialises a free slot. It zeroes both PINs, whatever happens.
func (c *Client) InitToken(ctx context.Context, r InitTokenRequest) (info TokenInfo, t Timing, err error) {
	defer clear(r.SOPIN)
	defer clear(r.PIN)
	body, t, err := c.call(ctx, OpInitToken, r)
	if err == nil {
		err = decodeReply(OpInitToken, body, &info)
	}
	return info, t, err
}

// List returns the keys on the token.
func (c *Client) List(ctx context.Context, r ListRequest) (objects []Object, t Timing, err error) {
	t, err = c.callJSON(ctx, OpList, r, &objects)
	return objects, t, err
}

// Generate makes a key pair on the token and reads it back.
func (c *Client) Generate(ctx context.Context, r GenerateRequest) (o Object, t Timing, err error) {
	t, err = c.callJSON(ctx, OpGenerate, r, &o)
	return o, t, err
}

// Sign returns one signature, in the form that the mechanism gives it.
func (c *Client) Sign(ctx context.Context, r SignRequest) ([]byte, Timing, error) {
	return c.call(ctx, OpSign, r)
}

// Decrypt has the token decrypt, or derive, once. An error is none of the ciphertext's.
func (c *Client) Decrypt(ctx context.Context, r DecryptRequest) (Decrypted, Timing, error) {
	body, t, err := c.call(ctx, OpDecrypt, r)
	if err != nil {
		return Decrypted{}, t, err
	}
	d, err := parseDecrypted(body)
	return d, t, err
}

// Destroy removes every object that r names. None being there is no error.
func (c *Client) Destroy(ctx context.Context, r Ref) (reply DestroyReply, t Timing, err error) {
	t, err = c.callJSON(ctx, OpDestroy, r, &reply)
	return reply, t, err
}

// Metrics returns the worker's own metric families, as Backend.Metrics gives them.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	body, _, err := c.call(ctx, OpMetrics, raw(nil))
	return body, err
}

// Close asks the worker to finalise the module and to exit. The connection is over
// whatever the worker answers.
func (c *Client) Close(ctx context.Context) error {
	_, _, err := c.call(ctx, OpClose, raw(nil))
	c.fail(errClosed)
	return err
}
