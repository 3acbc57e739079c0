package client

import (
	"context"
	"net/http"
	"strconv"

	v1 "keysetd.example/api/v1"
)

// Rotate makes the pending generation the one that signs, if it may by now (ErrNotYet). With
// req.KID it may be asked again after a lost reply, and rotates once.
func (c *Client) Rotate(ctx context.Context, keyset string, req *v1.RotateRequest) (*v1.ActReply, error) {
	return post[v1.ActReply](ctx, c, path(keyset)+"/rotate", req, repetition(req.KID != ""))
}

// Revoke takes keys out of service at once and for good. What is revoked already is no error: with
// req.KID or req.Through it may be asked again after a lost reply. All without Through is about the keys
// there are when it arrives, a second time those that took the place of the first.
func (c *Client) Revoke(ctx context.Context, keyset string, req *v1.RevokeRequest) (*v1.ActReply, error) {
	return post[v1.ActReply](ctx, c, path(keyset)+"/revoke", req, repetition(!req.All || req.Through != 0))
}

// Freeze keeps the keyset as it is until req.Until. A freeze replaces the one before.
func (c *Client) Freeze(ctx context.Context, keyset string, req *v1.FreezeRequest) (*v1.ActReply, error) {
	return post[v1.ActReply](ctx, c, path(keyset)+"/freeze", req, repeatable)
}

// Thaw ends a freeze. It is no error where there is none.
func (c *Client) Thaw(ctx context.Context, keyset string, req *v1.ThawRequest) (*v1.ActReply, error) {
	return post[v1.ActReply](ctx, c, path(keyset)+"/thaw", req, repeatable)
}

// CSR returns the requests of the keyset's keys for certificates from outside.
func (c *Client) CSR(ctx context.Context, keyset string) (*v1.CSRList, error) {
	return get[v1.CSRList](ctx, c, path(keyset)+"/csr")
}

// ImportCertificate hands in the chain that was issued for a key. It is sent once: by the second time somebody may
// have handed in another one.
func (c *Client) ImportCertificate(ctx context.Context, keyset string, req *v1.ImportCertificateRequest) (*v1.ActReply, error) {
	return post[v1.ActReply](ctx, c, path(keyset)+"/certificate", req, onceOnly)
}

// Plan returns what will happen to the keyset if nothing else does.
func (c *Client) Plan(ctx context.Context, keyset string) (*v1.Plan, error) {
	return get[v1.Plan](ctx, c, path(keyset)+"/plan")
}

// History returns the newest limit events of the keyset, oldest first. 0 leaves it to the
// daemon how many.
func (c *Client) History(ctx context.Context, keyset string, limit int) (*v1.History, error) {
	query := ""
	if limit != 0 {
		query = "?limit=" + strconv.Itoa(limit)
	}
	return get[v1.History](ctx, c, path(keyset)+"/history"+query)
}

// Reload makes the daemon read its configuration again and, but for a dry run, go by it. It is sent
// once: the file may be another by the second time, and the reply would tell of that one alone.
func (c *Client) Reload(ctx context.Context, req *v1.ReloadRequest) (*v1.ReloadReply, error) {
	return post[v1.ReloadReply](ctx, c, "/v1/reload", req, repetition(req.DryRun))
}

// AcceptClock tells the daemon that its clock is right although it made a step, so that
// rotation goes on. It is sent once: a step that came after nobody has looked at.
func (c *Client) AcceptClock(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/clock/accept", nil, onceOnly)
	return err
}
