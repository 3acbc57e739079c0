package audit

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestOpenRefusesWhatIsNotItsOwn: whoever can write in the log's folder must not have the daemon
// write elsewhere.
func TestOpenRefusesWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	path, store := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "state.db")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		lay    func() error
		others []string
		want   string
	}{
		"a link":               {func() error { return os.Symlink(store, path) }, nil, "symbolic link"},
		"a link to nothing":    {func() error { return os.Symlink(filepath.Join(dir, "new"), path) }, nil, "symbolic link"},
		"another name":         {func() error { return os.Link(store, path) }, nil, "2 names"},
		"the store by a name":  {func() error { return os.Link(store, path) }, []string{"/nonexistent", store}, "the same file as " + store},
		"the store":            {func() error { return os.WriteFile(path, nil, 0o600) }, []string{path}, "the same file as " + path},
		"a pipe":               {func() error { return syscall.Mkfifo(path, 0o600) }, nil, "not a regular file"},
		"somebody else's file": {func() error { return another(path) }, nil, "belongs to uid 12345"},
	} {
		must(os.WriteFile(store, []byte("the store"), 0o600))
		err := c.lay()
		if err != nil && name == "somebody else's file" && os.Geteuid() != 0 {
			continue // only root can make one
		}
		must(err)
		if l, err := Open(path, Options{Others: c.others}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				l.Close()
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
			t.Errorf("%s: the link's target was made", name)
		}
		if b, err := os.ReadFile(store); err != nil || string(b) != "the store" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		must(os.RemoveAll(path))
	}
}

func another(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Chown(path, 12345, -1)
}

// TestLinkInThePlaceOfTheFile: while the daemon runs, nothing is written through it.
func TestLinkInThePlaceOfTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path, store := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "state.db")
		if err := os.WriteFile(store, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		l, _ := openTold(t, path)
		mustAppend(t, l, "a")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(store, path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if err := l.Append(t.Context(), record("b")); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Error(err)
		}
		if b, err := os.ReadFile(store); err != nil || len(b) > 0 {
			t.Errorf("%q, %v", b, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		mustAppend(t, l, "c")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
