package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

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

// notRunning refuses to make a store while a daemon of this configuration runs: one that lost its
// store still signs, and does not look for another.
func notRunning(socket string) error {
	conn, err := net.DialTimeout("unix", socket, 2*time.Second)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("a keysetd runs: %s is answered; stop it first, as a store that is made beside it would know nothing of what it does", socket)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("finding out whether a keysetd runs: %w; stop it first", err)
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
