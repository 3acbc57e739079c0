package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func record(jti string) Record {
	return Record{Caller: Caller{UID: 1001}, Operation: "jwt", Keyset: "default", JTI: jti, Outcome: Granted}
}

// jtis reads a log back: the jti of each line that is whole, and "TORN" for one that is not.
func jtis(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return jtisOf(string(data))
}

func jtisOf(data string) []string {
	var out []string
	for s := bufio.NewScanner(strings.NewReader(data)); s.Scan(); {
		var r Record
		if json.Unmarshal(s.Bytes(), &r) != nil {
			r.JTI = "TORN"
		}
		out = append(out, r.JTI)
	}
	return out
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("lines %v, want %v", got, want)
	}
}

func mustAppend(t *testing.T, l *Log, jti string) {
	t.Helper()
	if err := l.Append(t.Context(), record(jti)); err != nil {
		t.Fatal(err)
	}
}

func TestAppendIsInTheFileWhenItReturns(t *testing.T) {
	for _, mode := range []Sync{"", SyncSecond, SyncAlways} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		for i := range 2 { // a second start goes on after the last line
			l, err := Open(path, Options{Sync: mode})
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, l, strconv.Itoa(i))
			expect(t, jtis(t, path), []string{"0", "1"}[:i+1]...)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := l.Append(t.Context(), record("late")); !errors.Is(err, ErrClosed) {
				t.Errorf("Append after Close: %v", err)
			}
			if err := l.Close(); !errors.Is(err, ErrClosed) {
				t.Errorf("second Close: %v", err)
			}
			if err := l.Reopen(); !errors.Is(err, ErrClosed) {
				t.Errorf("Reopen after Close: %v", err)
			}
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
	}
}

func TestConcurrentAppendsWithReopen(t *testing.T) {
	for _, mode := range []Sync{SyncSecond, SyncAlways} {
		t.Run(string(mode), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "audit.jsonl")
			l, err := Open(path, Options{Sync: mode})
			if err != nil {
				t.Fatal(err)
			}
			const callers, each, rotations = 16, 50, 5
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := range each {
						if err := l.Append(t.Context(), record(fmt.Sprintf("%d.%d", c, i))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for i := range rotations {
				wg.Go(func() {
					if err := os.Rename(path, filepath.Join(dir, "old"+strconv.Itoa(i))); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Error(err)
					}
					if err := l.Reopen(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]int)
			files, _ := os.ReadDir(dir)
			for _, f := range files {
				for _, j := range jtis(t, filepath.Join(dir, f.Name())) {
					seen[j]++
				}
			}
			if len(seen) != callers*each {
				t.Errorf("%d different lines, want %d", len(seen), callers*each)
			}
			for j, n := range seen {
				if n != 1 || j == "TORN" {
					t.Errorf("line %s is there %d times", j, n)
				}
			}
		})
	}
}

func TestReopenThatFailsGoesOnInTheOldFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "audit.jsonl")
	l, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil || !strings.Contains(err.Error(), "it goes on in the old file") {
		t.Errorf("Reopen without a directory: %v", err)
	}
	mustAppend(t, l, "a")
	expect(t, jtis(t, filepath.Join(dir+".gone", "audit.jsonl")), "a")
}

func TestOpenEndsALineThatACrashCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"jti":"a"}`+"\n"+`{"jti":"b`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mustAppend(t, l, "c")
	expect(t, jtis(t, path), "a", "TORN", "", "c") // and the event that tells of the lines without a chain
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "missing", "audit.jsonl"): "opening the audit log: open " + dir + "/missing/audit.jsonl: no such file or directory",
		"/dev/null": "opening the audit log: /dev/null is not a regular file, and only those can be synced",
	} {
		if _, err := Open(path, Options{}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	if _, err := Open(filepath.Join(dir, "x"), Options{Sync: "never"}); err == nil {
		t.Error("sync never was accepted")
	}
}

func TestAloneAppendAllocatesLittle(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "audit.jsonl"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, r := context.Background(), full
	if n := testing.AllocsPerRun(200, func() {
		if err := l.Append(ctx, r); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for each line", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(filepath.Join(b.TempDir(), "audit.jsonl"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ctx, r := context.Background(), full
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Append(ctx, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
