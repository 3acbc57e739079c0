package audit

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func openTold(t *testing.T, path string) (*Log, *told) {
	t.Helper()
	c := new(told)
	l, err := Open(path, Options{Logger: slog.New(slog.NewTextHandler(c, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

func TestDeletedFileIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "log")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "audit.jsonl")
		l, c := openTold(t, path)
		mustAppend(t, l, "a")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		mustAppend(t, l, "b")
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), `"event":"file_deleted"`) || c.count("was deleted, with the lines in it") != 1 {
			t.Errorf("%s, %v, %s", data, err, c.lines)
		}
		if r := whole(t, VerifyOptions{}, path); r.First != 2 || r.Last != 3 {
			t.Errorf("%+v", r)
		}
		// With its directory: nothing is signed until there is a file again.
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3100 * time.Millisecond)
		if err := l.Append(t.Context(), record("c")); err == nil || !strings.Contains(err.Error(), "replacing the deleted file of the audit log") {
			t.Error(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		mustAppend(t, l, "d")
		if r := whole(t, VerifyOptions{}, path); r.First != 4 || r.Last != 5 || c.count("no new one can be opened") != 1 {
			t.Errorf("%+v %s", r, c.lines)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestMovedFileWaitsForHangup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path, old := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "audit.jsonl.1")
		l, c := openTold(t, path)
		mustAppend(t, l, "a")
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		mustAppend(t, l, "b")
		if c.count("") != 0 {
			t.Error(c.lines)
		}
		time.Sleep(time.Minute)
		if c.count("was moved away") != 1 {
			t.Error(c.lines)
		}
		// What somebody else put there is declared, and is a fault.
		if err := os.WriteFile(path, []byte("foreign\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "c")
		r, err := Verify([]string{old, path}, VerifyOptions{})
		if err != nil || r.Lines != 4 || len(r.Torn) != 1 || r.Fault == nil || r.Fault.Kind != Foreign || r.Fault.Line != 2 {
			t.Errorf("%+v, %v", r, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
