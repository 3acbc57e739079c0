package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keysetd.example/rotation/store"
)

// TestNotInPlace: nothing is written into a file that is no longer at its path, for nobody would
// read it again.
func TestNotInPlace(t *testing.T) {
	for name, take := range map[string]func(path, other string) error{
		"removed":  func(path, _ string) error { return os.Remove(path) },
		"replaced": func(path, other string) error { return os.Rename(other, path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, away := filepath.Join(dir, "state.db"), filepath.Join(dir, "away.db")
			other, err := store.Create(filepath.Join(dir, "other.db"))
			if err != nil {
				t.Fatal(err)
			}
			other.Close()
			s, err := store.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			version := save(t, s, withGenerations("a", 1), 0)
			if err := os.Link(path, away); err != nil {
				t.Fatal(err)
			}
			if err := take(path, filepath.Join(dir, "other.db")); err != nil {
				t.Fatal(err)
			}
			write := func() map[string]error {
				_, saved := s.Save(t.Context(), withGenerations("a", 1), version)
				return map[string]error{
					"Save": saved, "RaiseWatermark": s.RaiseWatermark(t.Context(), "a", 1, time.Now()), "RememberToken": s.RememberToken("hsm", "1"),
				}
			}
			for what, err := range write() {
				if !errors.Is(err, store.ErrReplaced) || !strings.Contains(err.Error(), "put it back") || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if doc, err := s.Get(t.Context(), "a"); err != nil || doc.Version != version {
				t.Errorf("it has version %d, %v", doc.Version, err)
			}
			// Put back it goes on.
			if err := os.Rename(away, path); err != nil {
				t.Fatal(err)
			}
			for what, err := range write() {
				if err != nil {
					t.Errorf("put back, %s: %v", what, err)
				}
			}
		})
	}
}
