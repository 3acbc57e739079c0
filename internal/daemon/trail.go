package daemon

import (
	"log/slog"
	"path/filepath"

	"keysetd.example/internal/audit"
	"keysetd.example/internal/config"
	"keysetd.example/rotation/store"
)

// anchorName is the file beside the store that says where the audit log ended. Whoever can write to
// the log's folder alone cannot change it.
const anchorName = "audit.head"

// openTrail opens the audit log of an installation.
func openTrail(cfg *config.Config, installation string, seal audit.Sealer, log *slog.Logger) (*audit.Log, error) {
	anchor := filepath.Join(filepath.Dir(cfg.Store.Path), anchorName)
	return audit.Open(cfg.Audit.Path, audit.Options{
		Sync: cfg.Audit.Sync, Sealer: seal, Installation: installation, Logger: log,
		Anchor: anchor, Others: []string{cfg.Store.Path, store.RevocationsPath(cfg.Store.Path), anchor},
	})
}
