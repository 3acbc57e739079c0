package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

func TestCreateAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := store.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	id := s.Installation()
	save(t, s, document("a"), 0, rotation.Event{What: "made"})
	if err := s.RememberToken("hsm", "123"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("Create left %v", files)
	}

	s, err = store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	doc, err := s.Get(t.Context(), "a")
	if err != nil || s.Installation() != id || !reflect.DeepEqual(doc, rotation.Versioned{Document: document("a"), Version: 1}) {
		t.Errorf("opened again: %+v, %v, installation %s, was %s", doc, err, s.Installation(), id)
	}
	if serial, err := s.TokenSerial("hsm"); serial != "123" || err != nil {
		t.Errorf("serial %q, %v", serial, err)
	}
	if events, err := s.History(t.Context(), "a", 9); len(events) != 1 || err != nil {
		t.Errorf("history %+v, %v", events, err)
	}

	// A second one is refused at once.
	begin := time.Now()
	if _, err := store.Open(path); !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second Open: %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	if _, err := store.Create(path); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("Create over a store: %v", err)
	}
	if doc, err := s.Get(t.Context(), "a"); err != nil || doc.Version != 1 {
		t.Errorf("afterwards: %+v, %v", doc, err)
	}
}

func TestOpenMakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if _, err := store.Open(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "keysetd init") {
		t.Errorf("a missing store: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open made a file: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "text": strings.Repeat("not a store\n", 5000)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("%s: Open changed the file", name)
		}
	}
	if _, err := store.Create(filepath.Join(t.TempDir(), "missing", "state.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create in a directory that is missing: %v", err)
	}
}

// change edits the file of a store with two documents as no version of ours would.
func change(t *testing.T, f func(tx *bbolt.Tx) error) string {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := store.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, document("a"), 0, rotation.Event{What: "made"})
	save(t, s, document("b"), 0)
	s.Close()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefuses(t *testing.T) {
	put := func(bucket, key, value string) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(value)) }
	}
	for want, f := range map[string]func(*bbolt.Tx) error{
		`format "3" and this version knows "2"`: put("meta", "format", "3"),
		"no installation id":                    put("meta", "installation", "short"),
		"bucket meta is missing":                func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("meta")) },
		"bucket keysets is missing":             func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("keysets")) },
		"bucket watermarks is missing":          func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("watermarks")) },
		"bucket history is missing":             func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("history")) },
	} {
		path := change(t, f)
		s, err := store.Open(path)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestCorruptDocuments(t *testing.T) {
	const version = "\x00\x00\x00\x00\x00\x00\x00\x01"
	for want, value := range map[string]string{
		"shorter than its version":     "\x00",
		"unexpected end of JSON":       version,
		"invalid character":            version + "{]",
		"unknown field \"extra\"":      version + `{"format":2,"keyset":"b","last":0,"generations":null,"extra":1}`,
		"newer version of keysetd":     version + `{"format":3,"keyset":"b","extra":1}`,
		"document of keyset \"a\"":     version + `{"format":2,"keyset":"a","last":0,"generations":null}`,
		"format 1 and the store has 2": version + `{"format":1,"keyset":"b","last":0,"generations":null}`,
		"the unknown state \"lost\"":   version + `{"format":2,"keyset":"b","last":1,"generations":[{"number":1,"state":"lost","keys":[],"made":"2026-01-01T00:00:00Z"}]}`,
	} {
		path := change(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("keysets")).Put([]byte("b"), []byte(value)) })
		s, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, load := s.Load(t.Context())
		_, get := s.Get(t.Context(), "b")
		_, saved := s.Save(t.Context(), document("b"), 0)
		_, saved1 := s.Save(t.Context(), document("b"), 1)
		for _, err := range []error{load, get, saved, saved1} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `bucket keysets, keyset "b"`) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v; want %q", err, want)
			}
		}
		if doc, err := s.Get(t.Context(), "a"); err != nil || doc.Version != 1 {
			t.Errorf("the other document: %+v, %v", doc, err)
		}
		s.Close()
	}
	path := change(t, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("history")).Bucket([]byte("a")).Put([]byte("\x00\x00\x00\x00\x00\x00\x00\x01"), []byte("{"))
	})
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.History(t.Context(), "a", 5); err == nil || !strings.Contains(err.Error(), `bucket history, keyset "a"`) {
		t.Error(err)
	}
}
