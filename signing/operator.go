package signing

import (
	"context"
	"errors"
	"strconv"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

// Operator does what operators ask for by hand. What it does not do is a *rotation.Refusal,
// also where it does not know the keyset; other errors are faults. An act that returned nil
// is persistent, and has swapped the Service's State.
type Operator interface {
	Rotate(ctx context.Context, keyset string, act rotation.Act) error
	Revoke(ctx context.Context, keyset string, act rotation.RevokeAct) (rotation.Revoked, error)
	Freeze(ctx context.Context, keyset string, act rotation.Act, until time.Time) error
	Thaw(ctx context.Context, keyset string, act rotation.Act) error
	// CSR returns a request, signed by its key, for each of the keyset's keys that a certificate from outside is
	// wanted for.
	CSR(ctx context.Context, keyset string) ([]v1.CertificateRequest, error)
	// ImportCertificate puts down the chain, in PEM, that somebody issued outside for the key act.KID.
	ImportCertificate(ctx context.Context, keyset, chain string, act rotation.Act) error
	AcceptClock(ctx context.Context, act rotation.Act) error
	// Plan tells the steps to come, soonest first.
	Plan(keyset string) ([]rotation.Forecast, error)
	// History returns the newest limit events, oldest first.
	History(ctx context.Context, keyset string, limit int) ([]rotation.Event, error)
}

// actLimit is how long an operator's act may take.
const actLimit = 30 * time.Second

// operate does an operator's act. Once begun it is not cut off by the caller going away, since
// half an act helps nobody; it has actLimit.
func (s *Service) operate(ctx context.Context, a *act, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actLimit)
	defer cancel()
	return s.perform(ctx, a, func(ctx context.Context) error {
		err := do(ctx)
		a.done = err == nil
		return err
	})
}

// perform does what is not signing, if the caller may, and returns what the caller is told.
func (s *Service) perform(ctx context.Context, a *act, do func(context.Context) error) (err error) {
	defer s.finish(ctx, a, &err)
	if err = a.authorise(""); err == nil && a.operation != policy.Admin && a.term.state.keysets[a.keyset] == nil {
		err = unknownKeyset(a.keyset) // whatever the Operator has beside the State is not for callers
	}
	if err == nil {
		a.leave() // do may wait until older states are drained, or for somebody who does
		if err = do(ctx); err != nil {
			err = fromOperator(err, s.Now())
		}
	}
	return s.end(ctx, a, err)
}

// by is how the history names a caller.
func by(caller policy.Caller) string {
	return string(strconv.AppendUint(append(make([]byte, 0, 14), "uid "...), uint64(caller.UID), 10))
}

// refusals is the one table from why an act was not done to what the caller is told.
var refusals = map[rotation.RefusalKind]struct {
	reason v1.Reason
	field  string
}{
	rotation.RefusedNotYet:        {v1.NotYet, ""},
	rotation.RefusedRateLimited:   {v1.RateLimited, ""},
	rotation.RefusedFrozen:        {v1.Frozen, ""},
	rotation.RefusedUnknownKeyset: {v1.KeysetUnknown, ""},
	rotation.RefusedUnknownKID:    {v1.KidUnknown, "/kid"},
	rotation.RefusedBadRequest:    {v1.BadRequest, ""},
}

// fromOperator tells a caller of an error that an act ended with.
func fromOperator(err error, now time.Time) *v1.Error {
	if e, ok := errors.AsType[*v1.Error](err); ok {
		return e
	}
	if r, ok := errors.AsType[*rotation.Refusal](err); ok {
		if told, known := refusals[r.Kind]; known {
			return &v1.Error{Reason: told.reason, Field: told.field, Detail: r.Detail, RetryAfterMillis: retryAfter(now, r.At), Cause: err}
		}
		return internal(err)
	}
	if errors.Is(err, hsm.ErrUnavailable) { // whatever else it then is
		return fromToken(err)
	}
	for _, row := range actErrors {
		if errors.Is(err, row.is) {
			return &v1.Error{Reason: row.reason, Detail: row.detail, Cause: err}
		}
	}
	return fromToken(err)
}

// actErrors is the one table from how an act failed to what the caller is told; what is not in it
// came from a token.
var actErrors = []struct {
	is     error
	reason v1.Reason
	detail string
}{
	{rotation.ErrNotShown, v1.Internal, "it is done and on disk, but pages and signers cannot show it yet, which is tried again; an operator has to look at keysetd's log"},
	{rotation.ErrStore, v1.Internal, "the store cannot be written, so this was not done; an operator has to look at keysetd's log and at the disk, and to send it again"},
	{context.DeadlineExceeded, v1.DeadlineExceeded, "the time for this request ran out before it was done; look at the keyset's state and history, then send it again, which does no harm"},
	{context.Canceled, v1.DeadlineExceeded, "keysetd went away before it was done; look at the keyset's state and history, then send it again, which does no harm"},
}

// retryAfter is how long to wait from now until at, in milliseconds; 0 where at is not known. What
// was to be by now is about to be.
func retryAfter(now, at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	wait := at.Sub(now)
	if wait <= 0 {
		wait = time.Second
	}
	return millis(wait)
}

// millis is d in milliseconds, rounded up: whoever waits as long has waited long enough.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }
