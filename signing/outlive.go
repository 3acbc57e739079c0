package signing

import (
	"context"
	"errors"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/rotation"
)

// outlive sees to it that the key stays published until the token has expired (invariant 2). It is
// called before the token is signed: what was put down in vain costs nothing, and what was signed
// without would be refused by verifiers.
func (a *act) outlive(ctx context.Context, ks *keyset) error {
	exp := time.Unix(a.facts.exp, 0)
	if !exp.After(a.start.Add(ks.guaranteed)) {
		return nil
	}
	switch err := ks.outlive(ctx, a.key.generation, exp); {
	case err == nil:
		return nil
	case errors.Is(err, rotation.ErrNotLive):
		return &v1.Error{Reason: v1.KidNotActive, Detail: "the key " + quote(a.key.kid) + " is no longer published long enough for this token; ask again", Cause: err}
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return &v1.Error{Reason: v1.DeadlineExceeded, Detail: "the time for this request ran out before it was put down how long the key must stay published; nothing was signed", Cause: err}
	default:
		return &v1.Error{Reason: v1.Internal, Cause: err, Detail: "how long the key must stay published for this token could not be put down, so nothing was signed; an operator has to look at keysetd's log and at the disk; tokens that live for " + ks.guaranteed.String() + " at most are signed as before"}
	}
}
