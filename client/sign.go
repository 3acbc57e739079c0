package client

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"

	v1 "keysetd.example/api/v1"
)

// SignJWT has the keyset sign claims or a signing input. The claims become the token's
// payload byte for byte.
func (c *Client) SignJWT(ctx context.Context, keyset string, req *v1.JWTRequest) (*v1.JWTReply, error) {
	body, err := jwtBody(req)
	if err != nil {
		return nil, err
	}
	result, err := c.sign(ctx, keyset, operationJWT, body)
	return result.JWT, err
}

// Sign has the keyset sign a payload or a digest.
func (c *Client) Sign(ctx context.Context, keyset string, req *v1.SignRequest) (*v1.SignReply, error) {
	body, err := requestBody(req)
	if err != nil {
		return nil, err
	}
	result, err := c.sign(ctx, keyset, operationSign, body)
	return result.Sign, err
}

// SignClientAssertion has the keyset sign an assertion by which a client authenticates at a token
// endpoint (RFC 7523). Each has a jti of its own, also if the request is sent again.
func (c *Client) SignClientAssertion(ctx context.Context, keyset string, req *v1.ClientAssertionRequest) (*v1.ClientAssertionReply, error) {
	body, err := requestBody(req)
	if err != nil {
		return nil, err
	}
	result, err := c.sign(ctx, keyset, operationAssertion, body)
	return result.ClientAssertion, err
}

// sign has one request done, alone or among others, and again where that may help. Its result
// has the operation's reply unless there is an error.
func (c *Client) sign(ctx context.Context, keyset string, op operation, body []byte) (v1.BatchResult, error) {
	return retried(ctx, c, func() (v1.BatchResult, error) {
		return c.gather.do(ctx, keyset, op, body)
	})
}

// wire is the gatherer's way to the daemon.
type wire struct{ c *Client }

func (w wire) waited(ctx context.Context) error { return w.c.waited(ctx) }

// alone sends a request as itself.
func (w wire) alone(ctx context.Context, keyset string, r *request) (v1.BatchResult, error) {
	raw, err := w.c.exchange(ctx, http.MethodPost, path(keyset)+"/"+r.op.path, r.body, repeatable)
	if err != nil {
		return v1.BatchResult{}, err
	}
	var result v1.BatchResult
	switch r.op {
	case operationJWT:
		result.JWT, err = read[v1.JWTReply](w.c, raw)
	case operationSign:
		result.Sign, err = read[v1.SignReply](w.c, raw)
	case operationAssertion:
		result.ClientAssertion, err = read[v1.ClientAssertionReply](w.c, raw)
	}
	return result, err
}

// together sends requests as a batch. The error is of the batch as a whole.
func (w wire) together(ctx context.Context, keyset string, requests []*request) ([]v1.BatchResult, error) {
	raw, err := w.c.exchange(ctx, http.MethodPost, path(keyset)+"/batch", batchBody(requests), repeatable)
	if err != nil {
		return nil, err
	}
	reply, err := read[v1.BatchReply](w.c, raw)
	if err != nil {
		return nil, err
	}
	if len(reply.Items) != len(requests) {
		return nil, fmt.Errorf("reading keysetd's reply on %s: it has %d results for the %d items of a batch", w.c.socket, len(reply.Items), len(requests))
	}
	return reply.Items, nil
}

func requestBody(req any) ([]byte, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("writing the request: %w", err)
	}
	return body, nil
}

// jwtBody writes req. The claims are put in as they are, where an encoder would compact
// them and so change what is signed.
func jwtBody(req *v1.JWTRequest) ([]byte, error) {
	rest := *req
	rest.Claims = nil
	body, err := requestBody(&rest)
	if err != nil || len(req.Claims) == 0 {
		return body, err
	}
	if !req.Claims.IsValid() { // or they could end early and become members of the request
		return nil, fmt.Errorf("writing the request: %w", &v1.Error{
			Reason: v1.BadClaims, Field: "/claims", Detail: "the claims are not valid JSON with each member once, so they were not sent",
		})
	}
	spliced := make([]byte, 0, len(`{"claims":,`)+len(req.Claims)+len(body))
	spliced = append(append(spliced, `{"claims":`...), req.Claims...)
	if len(body) > len("{}") {
		spliced = append(spliced, ',')
	}
	return append(spliced, body[1:]...), nil
}
