package daemon

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keysetd.example/internal/config"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// TestTrailIsNeitherTheStoreNorBesideIt: nor does it go on in a file that is not as it was left.
func TestTrailIsNeitherTheStoreNorBesideIt(t *testing.T) {
	dir := t.TempDir()
	cfg := new(config.Config)
	cfg.Store.Path = filepath.Join(dir, "state.db")
	if err := os.WriteFile(cfg.Store.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{cfg.Store.Path, store.RevocationsPath(cfg.Store.Path), filepath.Join(dir, anchorName)} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if path == filepath.Join(dir, anchorName) {
			if err := os.Remove(path); err != nil { // as at the first start
				t.Fatal(err)
			}
		}
		cfg.Audit.Path = path
		if l, err := openTrail(cfg, "here", nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "the same file as "+path) {
			t.Errorf("%s: %v", path, err)
			if err == nil {
				l.Close()
			}
		}
	}
}

// TestNothingSealsWhereKeysCannotBeShown: the keys of before may have been revoked.
func TestNothingSealsWhereKeysCannotBeShown(t *testing.T) {
	s := newSealed(t)
	defer s.close()
	s.audit(s.of(1, rotation.Active, keyspec.P256))
	if _, err := s.seal.Seal(t.Context(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	s.seal.key = func(rotation.Key) (tokenKey, error) { return nil, errors.New("no such token") }
	s.audit(s.of(2, rotation.Active, keyspec.P384))
	if jws, err := s.seal.Seal(t.Context(), []byte("{}")); err == nil || len(s.seal.Keys()) > 0 {
		t.Errorf("%q is signed, by one of %v", jws, s.seal.Keys())
	}
}

// TestKeyReplacedWhileItSigns: what it signed is not a checkpoint any more.
func TestKeyReplacedWhileItSigns(t *testing.T) {
	s := newSealed(t)
	defer s.close()
	s.seal.key = func(k rotation.Key) (tokenKey, error) {
		key, err := s.key(k)
		if k.KID == s.kid(keyspec.P256) {
			key = during{key, func() { s.audit(s.of(2, rotation.Active, keyspec.P384)) }}
		}
		return key, err
	}
	s.audit(s.of(1, rotation.Active, keyspec.P256))
	if jws, err := s.seal.Seal(t.Context(), []byte("{}")); err == nil {
		t.Errorf("%q by a key that was replaced", jws)
	}
	if _, err := s.seal.Seal(t.Context(), []byte("{}")); err != nil {
		t.Error(err)
	}
}

// during is a key that does something else while it signs.
type during struct {
	tokenKey
	do func()
}

func (d during) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	d.do()
	return d.tokenKey.Sign(ctx, digest, opts)
}
