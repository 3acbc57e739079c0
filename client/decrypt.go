package client

import (
	"context"
	"net/http"
	"net/url"

	v1 "keysetd.example/api/v1"
)

// Decrypt has the keyset decrypt a compact JWE, or the content encryption key of one (RFC 7516).
// A message that reaches a key and does not open is ErrDecryptionFailed, and no more is said; one that
// cannot be read is that too, with what is wrong with its form.
func (c *Client) Decrypt(ctx context.Context, keyset string, req *v1.DecryptRequest) (*v1.DecryptReply, error) {
	body, err := requestBody(req)
	if err != nil {
		return nil, err
	}
	return retried(ctx, c, func() (*v1.DecryptReply, error) {
		return call[v1.DecryptReply](ctx, c, http.MethodPost, path(keyset)+"/decrypt", body, repeatable)
	})
}

// ActiveKey returns the public half of the key that the keyset uses now for alg. An empty alg
// stands for the keyset's default.
func (c *Client) ActiveKey(ctx context.Context, keyset, alg string) (*v1.ActiveKey, error) {
	query := ""
	if alg != "" {
		query = "?alg=" + url.QueryEscape(alg)
	}
	return retried(ctx, c, func() (*v1.ActiveKey, error) {
		return get[v1.ActiveKey](ctx, c, path(keyset)+"/key"+query)
	})
}
