package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
)

// writeDown puts an act in the audit log that the daemon does of itself, with what became of
// it. It is done by then, so a log that cannot be written stops nothing here.
func writeDown(ctx context.Context, trail *audit.Log, log *slog.Logger, r audit.Record, err error) {
	r.Caller = audit.Caller{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid())}
	r.Outcome = audit.Granted
	if err != nil {
		r.Outcome, r.Reason = audit.Failed, string(v1.Internal)
		if e, ok := errors.AsType[*v1.Error](err); ok {
			r.Outcome, r.Reason = audit.Refused, string(e.Reason)
		}
		r.Detail += ": " + err.Error()
	}
	if err := trail.Append(ctx, r); err != nil {
		log.Error("an act of the daemon's own is not in the audit log", "operation", r.Operation, "detail", r.Detail, "error", err)
	}
}
