package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"keysetd.example/internal/config"
	"keysetd.example/internal/harden"
	"keysetd.example/signing/policy"
)

// enter is how every command begins that may log in: the process is hardened, the rights hold
// together, and the place is its own.
func enter(cfg *config.Config) (*policy.Policy, error) {
	if err := harden.Process(); err != nil {
		return nil, fmt.Errorf("hardening the process: %w", err)
	}
	rights, err := newPolicy(cfg)
	if err != nil {
		return nil, err
	}
	return rights, ownPlace(cfg)
}

// ownPlace refuses to work in a store's directory that is missing, or as root in one
// that is another user's: what root leaves there the daemon could not read, and what that user
// lays there root would follow.
func ownPlace(cfg *config.Config) error {
	dir := filepath.Dir(cfg.Store.Path)
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store.path: the directory %s does not exist; make it, owned by the user that runs keysetd", dir)
	}
	if err != nil {
		return fmt.Errorf("store.path: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && st.Uid != 0 {
		return fmt.Errorf("store.path: the directory %s belongs to uid %d and this is root; run it as that user: sudo -u '#%d' keysetd …", dir, st.Uid, st.Uid)
	}
	return nil
}
