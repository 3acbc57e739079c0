package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

func TestCreateFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	broken := errors.New("not so")
	if _, err := store.CreateFor(path, ours, func(s *store.Bolt) error {
		save(t, s, document("a"), 0)
		return broken
	}); !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
		t.Errorf("what could not be filled: %v", err)
	}
	for _, id := range []string{"", "me", ours[:30], strings.ToUpper(ours)} {
		if _, err := store.CreateFor(path, id, func(*store.Bolt) error { return nil }); err == nil || store.IsInstallation(id) {
			t.Errorf("installation id %q: %v", id, err)
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 0 {
		t.Fatalf("left behind: %v", files)
	}
	s, err := store.CreateFor(path, ours, func(s *store.Bolt) error {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there is a store before it is filled: %v", err)
		}
		save(t, s, document("a"), 0, rotation.Event{What: "recovered"})
		return s.RememberToken("hsm", "123")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	doc, err := s.Get(t.Context(), "a")
	events, failed := s.History(t.Context(), "a", 5)
	serial, unread := s.TokenSerial("hsm")
	if err := errors.Join(err, failed, unread); err != nil || s.Installation() != ours || doc.Version != 1 || len(events) != 1 || serial != "123" {
		t.Errorf("%v: installation %s, %+v, %+v, serial %s", err, s.Installation(), doc, events, serial)
	}
	if _, err := store.CreateFor(path, theirs, func(*store.Bolt) error { return nil }); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a store: %v", err)
	}
}
