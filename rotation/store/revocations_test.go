package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

const (
	ours   = "0123456789abcdef0123456789abcdef"
	theirs = "fedcba9876543210fedcba9876543210"
)

func revocation(kid string, at time.Time) store.KeysetRevocation {
	return store.KeysetRevocation{Keyset: "default", Revocation: rotation.Revocation{
		KID: kid, Spec: "p-256", Generation: 3, Token: "hsm", ID: []byte{8}, Label: "label of " + kid, Public: []byte{9}, At: at.UTC().Round(0), By: "uid 0", Why: "leaked", Kept: true,
	}}
}

func read(t *testing.T, path string) (string, []store.KeysetRevocation) {
	t.Helper()
	owner, all, err := store.ReadRevocations(path)
	if err != nil {
		t.Fatal(err)
	}
	return owner, all
}

func TestRevocationsComeBack(t *testing.T) {
	dir, at := t.TempDir(), time.Now()
	path := store.RevocationsPath(filepath.Join(dir, "state.db"))
	if path != filepath.Join(dir, "revoked.json") {
		t.Errorf("the file is %s", path)
	}
	if _, _, err := store.ReadRevocations(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file: %v", err)
	}
	write := func(all ...store.KeysetRevocation) {
		t.Helper()
		if kept, err := store.WriteRevocations(path, ours, all); err != nil || kept != "" {
			t.Fatalf("kept %q, %v", kept, err)
		}
	}
	write() // that there are none is worth knowing
	if owner, all := read(t, path); owner != ours || len(all) != 0 {
		t.Errorf("of none: %s, %v", owner, all)
	}
	early, late, other := revocation("early", at), revocation("late", at.Add(1)), revocation("other", at)
	other.Keyset = "another"
	write(late, other, early)
	owner, all := read(t, path)
	if want := []store.KeysetRevocation{other, early, late}; owner != ours || !reflect.DeepEqual(all, want) {
		t.Errorf("read %s, %+v\nwant %+v", owner, all, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "\n      \"kid\": \"early\",\n") || !strings.HasSuffix(string(text), "}\n") {
		t.Errorf("not for people: %s", text)
	}

	// The same in another order is the same file.
	write(early, late, other)
	if again, err := os.Stat(path); err != nil || !os.SameFile(info, again) {
		t.Errorf("the same content was written again: %v", err)
	}
	// A store that was replaced by an older one does not take revocations back.
	write(early)
	if _, all := read(t, path); len(all) != 3 {
		t.Errorf("revocations were forgotten: %+v", all)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestRevocationsOfOthersAreKept(t *testing.T) {
	dir, at := t.TempDir(), time.Now()
	db := filepath.Join(dir, "state.db")
	path := store.RevocationsPath(db)
	// By turns, and each time from a store that knows the latest key alone.
	var moved []string
	for _, turn := range []string{"first", "second", "third"} {
		for _, owner := range []string{ours, theirs} {
			kept, err := store.WriteRevocations(path, owner, []store.KeysetRevocation{revocation(turn+" of "+owner, at)})
			if err != nil {
				t.Fatal(err)
			}
			moved = append(moved, strings.TrimPrefix(kept, path))
		}
	}
	if want := []string{"", "." + ours, "." + theirs, "." + ours + ".2", "." + theirs + ".2", "." + ours + ".3"}; !slices.Equal(moved, want) {
		t.Errorf("moved aside were %q, want %q", moved, want)
	}
	for _, owner := range []string{ours, theirs} {
		if all, err := store.FindRevocations(db, owner); err != nil || len(all) != 3 || all[0].Keyset != "default" {
			t.Errorf("those of %s: %+v, %v", owner, all, err)
		}
	}
	if all, err := store.FindRevocations(db, strings.Repeat("0", 32)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("those of nobody: %+v, %v", all, err)
	}
}

// TestUnreadableRevocationsStay: nobody knows what they say, so nothing takes their place.
func TestUnreadableRevocationsStay(t *testing.T) {
	for _, name := range []string{"revoked.json", "revoked.json." + ours} {
		dir := t.TempDir()
		db := filepath.Join(dir, "state.db")
		path := store.RevocationsPath(db)
		if _, err := store.WriteRevocations(path, theirs, nil); err != nil {
			t.Fatal(err)
		}
		broken := filepath.Join(dir, name)
		if err := os.WriteFile(broken, []byte("half a fi"), 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := store.FindRevocations(db, ours); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), broken+": ") {
			t.Errorf("%s is damaged: %+v, %v", name, all, err)
		}
		if kept, err := store.WriteRevocations(path, ours, nil); err == nil || kept != "" || !strings.Contains(err.Error(), broken+": ") {
			t.Errorf("%s is damaged: kept %q, %v", name, kept, err)
		}
		b, err := os.ReadFile(broken)
		if after, _ := os.ReadDir(dir); err != nil || string(b) != "half a fi" || len(after) != len(before) {
			t.Errorf("%s was touched: %q, %v, %v", name, b, after, err)
		}
	}
}

func TestRevocationsAreStrict(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revoked.json")
	head := `{"format":1,"installation":"` + ours + `","revoked":`
	for content, want := range map[string]string{
		``:                                   "EOF",
		`{}`:                                 "format 0 is unknown",
		head + `[]`:                          "unexpected EOF",
		head + `[]}`:                         "",
		head + `[{"keyset":"a","kid":"b"}]}`: "", // as a person may write it
		head + `[]}{}`:                       "something follows",
		head + `[],"more":1}`:                `unknown field "more"`,
		head + `[{"keyset":"a","kid":"b","extra":1}]}`:            `unknown field "extra"`,
		head + `[{"keyset":"a","kid":"b"},{"kid":"b"}]}`:          "entry 2",
		head + `[{"keyset":"a"}]}`:                                "entry 1",
		`{"format":2,"installation":"` + ours + `","revoked":[]}`: "newer version of keysetd; this one knows 1",
		`{"format":1,"installation":"me","revoked":[]}`:           "no installation id",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := store.ReadRevocations(path)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v; want %q", content, err, want)
		}
	}
	if _, err := store.WriteRevocations(path, "me", nil); err == nil {
		t.Error("a file was written that could not be read")
	}
	if _, err := store.WriteRevocations(filepath.Join(t.TempDir(), "missing", "revoked.json"), ours, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is missing: %v", err)
	}
}
