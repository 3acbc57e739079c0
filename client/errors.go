package client

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"

	v1 "keysetd.example/api/v1"
)

// ErrUnreachable: no answer came from the daemon. What it was asked may have been done.
var ErrUnreachable = errors.New("keysetd cannot be reached")

// The reason words as errors, for errors.Is. What the methods return is a *v1.Error with
// the detail, reached by errors.As.
var (
	ErrBadRequest           error = &v1.Error{Reason: v1.BadRequest}
	ErrBadClaims            error = &v1.Error{Reason: v1.BadClaims}
	ErrBadHeader            error = &v1.Error{Reason: v1.BadHeader}
	ErrBadSigningInput      error = &v1.Error{Reason: v1.BadSigningInput}
	ErrBadDigest            error = &v1.Error{Reason: v1.BadDigest}
	ErrLifetimeTooLong      error = &v1.Error{Reason: v1.LifetimeTooLong}
	ErrIssuerMismatch       error = &v1.Error{Reason: v1.IssuerMismatch}
	ErrTooLarge             error = &v1.Error{Reason: v1.TooLarge}
	ErrNotFound             error = &v1.Error{Reason: v1.NotFound}
	ErrMethodNotAllowed     error = &v1.Error{Reason: v1.MethodNotAllowed}
	ErrUnsupportedMediaType error = &v1.Error{Reason: v1.UnsupportedMediaType}
	ErrKeysetUnknown        error = &v1.Error{Reason: v1.KeysetUnknown}
	ErrAlgorithmUnavailable error = &v1.Error{Reason: v1.AlgorithmUnavailable}
	ErrKidNotActive         error = &v1.Error{Reason: v1.KidNotActive}
	ErrPurposeMismatch      error = &v1.Error{Reason: v1.PurposeMismatch}
	ErrNotGranted           error = &v1.Error{Reason: v1.NotGranted}
	ErrNotReady             error = &v1.Error{Reason: v1.NotReady}
	ErrUnavailable          error = &v1.Error{Reason: v1.Unavailable}
	ErrOverloaded           error = &v1.Error{Reason: v1.Overloaded}
	ErrDeadlineExceeded     error = &v1.Error{Reason: v1.DeadlineExceeded}
	ErrNotYet               error = &v1.Error{Reason: v1.NotYet}
	ErrRateLimited          error = &v1.Error{Reason: v1.RateLimited}
	ErrFrozen               error = &v1.Error{Reason: v1.Frozen}
	ErrKidUnknown           error = &v1.Error{Reason: v1.KidUnknown}
	ErrBadConfiguration     error = &v1.Error{Reason: v1.BadConfiguration}
	ErrDecryptionFailed     error = &v1.Error{Reason: v1.DecryptionFailed}
	ErrAuditFailed          error = &v1.Error{Reason: v1.AuditFailed}
	ErrInternal             error = &v1.Error{Reason: v1.Internal}
)

// problem reads an error's body (RFC 9457).
func (c *Client) problem(resp *http.Response, body []byte) error {
	e := new(v1.Error)
	if err := json.Unmarshal(body, e); err != nil || e.Reason == "" {
		return fmt.Errorf("what answers on %s is not keysetd: %s", c.socket, resp.Status)
	}
	return e
}
