package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"keysetd.example/rotation"
)

// golden is what stores of format 1 held, which a keysetd of that time wrote.
type golden struct {
	Meta    map[string]string
	Tokens  map[string]string
	Keysets map[string]struct {
		Version  uint64
		Document json.RawMessage
	}
	History map[string][]json.RawMessage
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	b, err := os.ReadFile("testdata/format-1.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// old makes a store of format 1 in a new directory.
func old(t *testing.T, g golden) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		put := func(bucket string, key, value []byte) {
			b, err := tx.CreateBucketIfNotExists([]byte(bucket))
			if err == nil && key != nil {
				err = b.Put(key, value)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for key, value := range g.Meta {
			put("meta", []byte(key), []byte(value))
		}
		for key, value := range g.Tokens {
			put("tokens", []byte(key), []byte(value))
		}
		for name, k := range g.Keysets {
			put("keysets", []byte(name), append(binary.BigEndian.AppendUint64(nil, k.Version), k.Document...))
		}
		put("history", nil, nil)
		for name, events := range g.History {
			b, err := tx.Bucket([]byte("history")).CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for _, e := range events {
				number, _ := b.NextSequence()
				if err := b.Put(binary.BigEndian.AppendUint64(nil, number), e); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// holds checks that a store that was migrated has all of g, and works.
func holds(t *testing.T, s *Bolt, g golden) {
	t.Helper()
	if s.Installation() != g.Meta["installation"] {
		t.Errorf("installation %s", s.Installation())
	}
	if serial, err := s.TokenSerial("default"); err != nil || serial != g.Tokens["default"] {
		t.Errorf("serial %s, %v", serial, err)
	}
	docs, err := s.Load(t.Context())
	if err != nil || len(docs) != len(g.Keysets) {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	for _, doc := range docs {
		k := g.Keysets[doc.Keyset]
		if doc.Version != k.Version || doc.Format != rotation.Format {
			t.Errorf("%s: version %d, format %d", doc.Keyset, doc.Version, doc.Format)
		}
		// Written with the old format it is what it was: nothing was lost, and nothing came in.
		doc.Format = oldDocumentFormat
		got, err := json.Marshal(doc.Document)
		if err != nil {
			t.Fatal(err)
		}
		var was, is any
		if err := json.Unmarshal(k.Document, &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &is); err != nil || !reflect.DeepEqual(was, is) {
			t.Errorf("%s is now\n%s\nand was\n%s", doc.Keyset, got, k.Document)
		}
		if events, err := s.History(t.Context(), doc.Keyset, 100); err != nil || len(events) != len(g.History[doc.Keyset]) {
			t.Errorf("%s: %d events, %v", doc.Keyset, len(events), err)
		}
		doc.Format = rotation.Format
		if _, err := s.Save(t.Context(), doc.Document, doc.Version); err != nil {
			t.Error(err)
		}
		generation := doc.Generations[0]
		if err := s.RaiseWatermark(t.Context(), doc.Keyset, generation.Number, generation.Made); err != nil {
			t.Error(err)
		}
	}
}

func TestMigrate(t *testing.T) {
	g := readGolden(t)
	path := old(t, g)
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Migrated() != path+".format-1" {
		t.Errorf("the copy is %q", s.Migrated())
	}
	holds(t, s, g)
	s.Close()
	if s, err = Open(path); err != nil || s.Migrated() != "" {
		t.Fatalf("opened again: migrated %q, %v", s.Migrated(), err)
	}
	s.Close()
	if info, err := os.Stat(path + ".format-1"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info.Mode(), err)
	}
	if files := names(t, path); !slices.Equal(files, []string{"state.db", "state.db.format-1"}) {
		t.Errorf("there are %v", files)
	}
	// The way back, and forth again: the copy is a store of format 1. What the old version did
	// meanwhile gets a copy of its own.
	first, err := os.ReadFile(path + ".format-1")
	if err != nil {
		t.Fatal(err)
	}
	changed := g
	changed.Tokens = map[string]string{"default": "another"}
	for want, content := range map[string][]byte{path + ".format-1": first, path + ".format-1.2": nil} {
		if content == nil {
			if content, err = os.ReadFile(old(t, changed)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Migrated() != want {
			t.Errorf("the copy is %s, want %s", s.Migrated(), want)
		}
		s.Close()
	}
	if b, err := os.ReadFile(path + ".format-1"); err != nil || !reflect.DeepEqual(b, first) {
		t.Errorf("the first copy was written over: %v", err)
	}
}

func names(t *testing.T, path string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	return files
}

// TestLook: whoever only looks at a store leaves it as it is, whatever its format.
func TestLook(t *testing.T) {
	g := readGolden(t)
	path := old(t, g)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Outline{g.Meta["installation"], g.Tokens, true}
	if got, err := Look(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("of format 1: %+v, %v; want %+v", got, err, want)
	}
	after, err := os.ReadFile(path)
	if files := names(t, path); err != nil || !reflect.DeepEqual(before, after) || len(files) != 1 {
		t.Errorf("looking changed it: %v, %v", files, err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Look(path); !errors.Is(err, ErrInUse) {
		t.Errorf("while it is in use: %v", err)
	}
	s.Close()
	want.Old = false
	if got, err := Look(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("migrated: %+v, %v; want %+v", got, err, want)
	}
	if _, err := Look(path + ".missing"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "keysetd init") {
		t.Errorf("where there is none: %v", err)
	}
	for content, want := range map[string]string{"": "the file is empty", string(before[:len(before)/2]): "opening the store"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Look(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes of it: %+v, %v; want %q", len(content), got, err, want)
		}
	}
	g.Meta["format"] = "3"
	if _, err := Look(old(t, g)); err == nil || !strings.Contains(err.Error(), `it has format "3" and this version knows "2"`) {
		t.Errorf("of a newer version: %v", err)
	}
}

// TestMigrationStopped keeps the directory as it is at each point that a migration comes
// to, and begins there once more.
func TestMigrationStopped(t *testing.T) {
	g := readGolden(t)
	path := old(t, g)
	var points, left []string
	s, err := open(path, func(point string) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
			t.Fatal(err)
		}
		points, left = append(points, point), append(left, filepath.Join(dir, "state.db"))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if len(points) < 4+len(g.Keysets) {
		t.Fatalf("it came to %v", points)
	}
	for i, point := range points {
		t.Run(fmt.Sprintf("%d %s", i, point), func(t *testing.T) {
			s, err := Open(left[i])
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if done := point == "migrated"; done != (s.Migrated() == "") {
				t.Errorf("migrated %q", s.Migrated())
			}
			holds(t, s, g)
			copied, err := open(left[i]+".format-1", func(string) {})
			if err != nil {
				t.Fatalf("the copy: %v", err)
			}
			defer copied.Close()
			if copied.Migrated() == "" {
				t.Error("the copy is not of format 1")
			}
			holds(t, copied, g)
		})
	}
}

// TestMigrationRefused: what cannot be migrated in full stays as it is.
func TestMigrationRefused(t *testing.T) {
	for want, spoil := range map[string]func(g *golden){
		`keyset "zebra" cannot be read: json: unknown field "entires"`: func(g *golden) {
			k := g.Keysets["saml"]
			k.Document = json.RawMessage(`{"format":1,"keyset":"zebra","last":0,"generations":null,"entires":[]}`)
			g.Keysets["zebra"] = k
		},
		"newer version of keysetd": func(g *golden) {
			k := g.Keysets["saml"]
			k.Document = json.RawMessage(`{"format":3,"keyset":"zebra"}`)
			g.Keysets["zebra"] = k
		},
		"bucket tokens is missing": func(g *golden) { g.Tokens = nil },
	} {
		g := readGolden(t)
		spoil(&g)
		path := old(t, g)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // at each start the same, and no more copies
			if s, err := Open(path); err == nil {
				s.Close()
				t.Errorf("opened; want %q", want)
			} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "from format 1 to 2") {
				t.Errorf("%v; want %q", err, want)
			}
		}
		if after, err := os.ReadFile(path); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%s: the store was changed: %v", want, err)
		}
		if files := names(t, path); len(files) != 2 {
			t.Errorf("there are %v", files)
		}
	}
}
