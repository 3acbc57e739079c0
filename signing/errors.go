package signing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
)

func refuse(reason v1.Reason, field, format string, args ...any) *v1.Error {
	return &v1.Error{Reason: reason, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// maxEcho is how much of what a caller sent an error repeats, in bytes.
const maxEcho = 200

// Clip shortens what a caller sent, so that neither reply nor audit log grows with it.
func Clip(s string) string { return clipTo(s, maxEcho) }

func clipTo(s string, end int) string {
	if len(s) <= end {
		return s
	}
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

func quote(s string) string { return strconv.Quote(Clip(s)) }

// tokenErrors is the one table from what package hsm and the caller's context say to
// what the caller is told. The first row that matches counts; what matches none is
// Internal. The error itself goes to the log as the cause.
var tokenErrors = []struct {
	is     error
	reason v1.Reason
	detail string
	retry  time.Duration
}{
	{hsm.ErrOverloaded, v1.Overloaded, "the token's queue is full and nothing was signed; ask again later or less often", 100 * time.Millisecond},
	{hsm.ErrPINBlocked, v1.Unavailable, "nobody logs in to the token until an operator runs `keysetctl pin retry`", 0},
	{hsm.ErrWrongSerial, v1.Unavailable, "the token under this label is another one than before; an operator has to look", 0},
	{hsm.ErrClosed, v1.Unavailable, "keysetd is shutting down; ask again once it is back", time.Second},
	{hsm.ErrUnavailable, v1.Unavailable, "the token cannot be reached now; ask again later", time.Second},
	{hsm.ErrBadDigest, v1.BadDigest, "the digest is not as long as the algorithm's hash", 0},
	{hsm.ErrWrongKey, v1.Internal, "the key on the token is not the one on record; an operator has to look at keysetd's log", 0},
	{hsm.ErrKeyNotFound, v1.Internal, "the active key is not on the token; an operator has to look at keysetd's log", 0},
	{hsm.ErrBadSignature, v1.Internal, "the token returned a signature that does not verify, and it was not released; an operator has to look at keysetd's log", 0},
	{hsm.ErrUnsupported, v1.AlgorithmUnavailable, "the token does not sign this way with this key; `keysetctl status` lists the algorithms that each keyset has", 0},
	{hsm.ErrTemplate, v1.Internal, "the key's attributes break the rules for private keys; an operator has to look at keysetd's log", 0},
	{context.DeadlineExceeded, v1.DeadlineExceeded, "the time for this request ran out before the token answered", 0},
	{context.Canceled, v1.DeadlineExceeded, "the caller went away before the token answered", 0},
}

// fromToken tells a caller of an error that signing ended with.
func fromToken(err error) *v1.Error {
	for _, row := range tokenErrors {
		if errors.Is(err, row.is) {
			retry := row.retry
			if full, ok := errors.AsType[*hsm.OverloadedError](err); ok {
				retry = full.RetryAfter
			}
			return &v1.Error{Reason: row.reason, Detail: row.detail, RetryAfterMillis: millis(retry), Cause: err}
		}
	}
	return internal(err)
}

// fromAudit tells a caller why what was signed is not released, or what was done not confirmed.
func fromAudit(err error, done bool) *v1.Error {
	if done {
		return &v1.Error{Reason: v1.AuditFailed, Detail: "it was done, but the audit log has no line of it yet; an operator has to look at keysetd's log and at the disk", Cause: err}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &v1.Error{Reason: v1.DeadlineExceeded, Detail: "the time for this request ran out before the audit log had its line, so nothing is released", Cause: err}
	}
	return &v1.Error{Reason: v1.AuditFailed, Detail: "the audit log cannot be written, so nothing is released; an operator has to look at keysetd's log and at the disk", Cause: err}
}

func internal(cause error) *v1.Error {
	return &v1.Error{Reason: v1.Internal, Detail: "a fault of keysetd's own; its log has more", Cause: cause}
}

// asError makes sure that what leaves the service is a *v1.Error.
func asError(err error) *v1.Error {
	if e, ok := errors.AsType[*v1.Error](err); ok {
		return e
	}
	return internal(err)
}
