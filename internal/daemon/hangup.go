package daemon

import (
	"context"
	"os"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/signing/policy"
)

// onHangup answers SIGHUP: it lets logrotate move the audit log away, and loads the
// configuration, which stands in the audit log. What fails is logged and leaves everything as it was.
func onHangup(ctx context.Context, hangups <-chan os.Signal, trail *audit.Log, r *reloader, systemd notifier) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		systemd.reloading(func() {
			if err := trail.Reopen(); err != nil {
				r.log.Error("reopening the audit log", "error", err)
			}
			_, err := r.reload(ctx, "SIGHUP", &v1.ReloadRequest{})
			writeDown(ctx, trail, r.log, audit.Record{Operation: string(policy.Admin), Detail: "reload by SIGHUP"}, err)
			if err != nil {
				r.log.Error("the configuration was not loaded, and what was in force stays; `keysetctl reload --dry-run` tells more", "error", err)
			}
		})
	}
}
