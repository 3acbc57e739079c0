package audit

import (
	"crypto/ecdsa"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// whole verifies files and returns the report, which must be without a fault.
func whole(t fataler, opts VerifyOptions, paths ...string) *Report {
	t.Helper()
	r, err := Verify(paths, opts)
	if err != nil {
		t.Fatal(err)
	}
	if r.Fault != nil {
		data, _ := os.ReadFile(r.Fault.File)
		t.Fatalf("%v\n%s", r.Fault, data)
	}
	return r
}

// TestFaultsLeaveAChain: whatever the disk does, and wherever a crash cuts the file, what
// stands in it verifies, and each line that was promised is there.
func TestFaultsLeaveAChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	rapid.Check(t, func(t *rapid.T) {
		d := &disk{room: -1}
		open := func() *Log {
			l, err := openWith("audit.jsonl", Options{Sync: rapid.SampledFrom([]Sync{SyncSecond, SyncAlways}).Draw(t, "sync")},
				func(string) (file, error) { return d, nil })
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := open()
		var promised []string
		for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
			d.set(func() {
				d.room = rapid.SampledFrom([]int{-1, -1, 0, 1, 20, 150, 230, 260, 500}).Draw(t, "room")
				d.truncateErr, d.syncErr = nil, nil
				if rapid.Bool().Draw(t, "no truncate") {
					d.truncateErr = os.ErrPermission
				}
				if rapid.Bool().Draw(t, "no sync") {
					d.syncErr = syscall.EIO
				}
			})
			jti := strconv.Itoa(i)
			if l.Append(t.Context(), record(jti)) == nil {
				promised = append(promised, jti)
			}
			if rapid.IntRange(0, 3).Draw(t, "crash") == 0 {
				l.Close()
				d.set(func() {
					if cut := rapid.IntRange(0, 30).Draw(t, "cut"); len(promised) == 0 {
						d.data = d.data[:len(d.data)-min(cut, len(d.data))]
					}
				})
				l = open()
			}
		}
		d.set(func() { d.room, d.truncateErr, d.syncErr = -1, nil, nil })
		if err := l.Append(t.Context(), record("last")); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if err := os.WriteFile(path, []byte(d.text()), 0o600); err != nil {
			t.Fatal(err)
		}
		whole(t, VerifyOptions{}, path)
		got := " " + strings.Join(jtisOf(d.text()), " ") + " "
		for _, jti := range promised {
			if strings.Count(got, " "+jti+" ") != 1 {
				t.Fatalf("line %s is not there once: %s", jti, got)
			}
		}
	})
}

// A group whose write was cut short and could not be taken back leaves whole lines.
func TestLinesThatCannotBeTakenBackAreOfTheChain(t *testing.T) {
	d := &disk{room: -1, truncateErr: os.ErrPermission}
	l := openDisk(t, d, SyncSecond)
	mustAppend(t, l, "a")
	body := func(jti string) []byte { r := record(jti); return r.appendLine(nil) }
	group := append(append(body("b"), body("c")...), body("d")...)
	out, _ := link(nil, group, l.end.head, nil)
	ends := strings.Index(string(out), "\n")
	for _, room := range []int{2*ends + 40, 2*ends + 1} {
		d.set(func() { d.room = room })
		l.turn <- struct{}{}
		if err := l.put(group); err == nil {
			t.Error("the disk was not full")
		}
		<-l.turn
	}
	d.set(func() { d.room = -1 })
	mustAppend(t, l, "e")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(d.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := whole(t, VerifyOptions{}, path); len(r.Torn) == 0 {
		t.Errorf("%+v\n%s", r, d.text())
	}
}

func TestOlderLogIsDeclared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	old := `{"jti":"a"}` + "\n" + `{"jti":"b"}` + "\n" + `{"jti":"c`
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		l, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, strconv.Itoa(i))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := whole(t, VerifyOptions{}, path)
	if r.Lines != 3 || r.First != 1 || len(r.Torn) != 1 || r.Torn[0].Bytes != int64(len(old)-2) {
		t.Errorf("%+v", r)
	}
	data, _ := os.ReadFile(path)
	if strings.Count(string(data), `"event":"older_log"`) != 1 {
		t.Errorf("%s", data)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"b"`, `"x"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify([]string{path}, VerifyOptions{}); err != nil || r.Fault == nil || r.Fault.Line != 1 {
		t.Error(r, err)
	}
}

func TestConcurrentAppendsAreOneChain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	s := &signer{keys: []*ecdsa.PrivateKey{newKey()}}
	l, err := Open(path, Options{Sealer: s})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 100 {
				r := record(fmt.Sprint(c, ".", i))
				if i%3 == 0 {
					r.Outcome = Refused
				}
				if err := l.Append(t.Context(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if err := l.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 5 {
		old := filepath.Join(dir, "old"+strconv.Itoa(i))
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, old)
		if err := l.Reopen(); err != nil { // nothing was moved
			t.Fatal(err)
		}
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := whole(t, VerifyOptions{Heads: []string{s.seals[len(s.seals)-1]}, KIDs: []string{kidOf(s.keys[0])}}, append(paths, path)...)
	if r.Covered != r.Last-1 || r.Head != r.Covered {
		t.Errorf("%+v", r)
	}
}
