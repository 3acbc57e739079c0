package door

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// unread counts and audits a request whose message could not be read, for which grpc-go has err. By then it
// has told its caller so in words of its own, and ended the request's context.
func (g *language) unread(ctx context.Context, c *conn, operation policy.Operation, err error) error {
	if operation == "" {
		return err
	}
	if status.Code(err) != codes.Canceled { // else its caller went away
		c.streams.answered()
	}
	why := messageError(ctx, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.config.RequestTimeout)
	defer cancel()
	return g.refuse(ctx, c, operation, why)
}

// messageError says what is wrong with a message, as bodyError does of a body.
func messageError(ctx context.Context, err error) *v1.Error {
	switch {
	case context.Cause(ctx) == errLate:
		return &v1.Error{Reason: v1.BadRequest, Detail: "the message did not arrive in time; send it at once", Cause: err}
	case status.Code(err) == codes.ResourceExhausted:
		return &v1.Error{Reason: v1.TooLarge, Detail: fmt.Sprintf("the message is longer than %d bytes", maxMessage), Cause: err}
	}
	return &v1.Error{Reason: v1.BadRequest, Detail: "the message could not be read: there is none, or it is not the one that this method takes", Cause: err}
}
