package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keysetd.example/rotation/store"
)

// TestCheckMigratesNothing: it is the start that does, and check says so.
func TestCheckMigratesNothing(t *testing.T) {
	cfg := parse(t, signingKeyset)
	cfg.Store.Path = filepath.Join(t.TempDir(), "state.db")
	db, err := store.Create(cfg.Store.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RememberToken("default", "0123"); err != nil {
		t.Fatal(err)
	}
	id := db.Installation()
	db.Close()
	look := func() (r Report) {
		t.Helper()
		known, err := r.open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if serial, err := known.TokenSerial("default"); err != nil || serial != "0123" || r.Installation != id {
			t.Errorf("found serial %q and installation %q, %v", serial, r.Installation, err)
		}
		return r
	}
	if r := look(); len(r.Notes) != 0 {
		t.Errorf("of a new store it notes %q", r.Notes)
	}
	// In the file a value follows its key.
	content, err := os.ReadFile(cfg.Store.Path)
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.ReplaceAll(content, []byte("format2"), []byte("format1"))
	if err := os.WriteFile(cfg.Store.Path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := look(); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "the next start of keysetd migrates it") {
		t.Errorf("of an old store it notes %q", r.Notes)
	}
	after, err := os.ReadFile(cfg.Store.Path)
	if files, _ := os.ReadDir(filepath.Dir(cfg.Store.Path)); err != nil || !bytes.Equal(old, after) || len(files) != 1 {
		t.Errorf("check changed it: %v, %v", files, err)
	}
}
