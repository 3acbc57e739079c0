package client

import (
	"context"
	"fmt"
	"net/http"

	v1 "keysetd.example/api/v1"
)

// Batch has the keyset do up to 256 requests, 1 MiB together. Each has its own result, in the
// order of the items; an error is of the batch as a whole. Claims become payloads byte for byte.
// (Concurrent calls of SignJWT and its like become batches by themselves.)
func (c *Client) Batch(ctx context.Context, keyset string, req *v1.BatchRequest) (*v1.BatchReply, error) {
	body := []byte(`{"items":[`)
	for i, item := range req.Items {
		one, err := itemBody(item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, one...)
	}
	body = append(body, "]}"...)
	return retried(ctx, c, func() (*v1.BatchReply, error) {
		return call[v1.BatchReply](ctx, c, http.MethodPost, path(keyset)+"/batch", body, repeatable)
	})
}

// itemBody writes an item. A jwt is written as jwtBody does, with its claims as they are.
func itemBody(item v1.BatchItem) ([]byte, error) {
	rest := item
	rest.JWT = nil
	body, err := requestBody(&rest)
	if err != nil || item.JWT == nil {
		return body, err
	}
	jwt, err := jwtBody(item.JWT)
	if err != nil {
		return nil, err
	}
	whole := append([]byte(`{"jwt":`), jwt...)
	if len(body) > len("{}") { // more than one member is for the daemon to refuse
		whole = append(whole, ',')
	}
	return append(whole, body[1:]...), nil
}

// WhoAmI returns who the daemon takes this process for, and what that one is granted.
func (c *Client) WhoAmI(ctx context.Context) (*v1.WhoAmI, error) {
	return get[v1.WhoAmI](ctx, c, "/v1/whoami")
}

// PolicyTest asks whether somebody may do something. Nothing is signed.
func (c *Client) PolicyTest(ctx context.Context, req *v1.PolicyTestRequest) (*v1.PolicyTestReply, error) {
	return post[v1.PolicyTestReply](ctx, c, "/v1/policy-test", req, repeatable)
}
