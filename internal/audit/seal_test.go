package audit

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// told collects what was logged.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (c *told) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, string(p))
	return len(p), nil
}

func (c *told) count(part string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

func openSealed(t *testing.T, d *disk, s *signer) (*Log, *told) {
	t.Helper()
	c := new(told)
	l, err := openWith("audit.jsonl", Options{Sealer: s, Logger: slog.New(slog.NewTextHandler(c, nil))}, func(string) (file, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// saved writes what is on the disk into a file.
func (d *disk) saved(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(d.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckpointEachMinuteIfLinesWereWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := &disk{room: -1}, &signer{keys: []*ecdsa.PrivateKey{newKey()}}
		l, c := openSealed(t, d, s)
		for range 5 {
			mustAppend(t, l, "a")
			time.Sleep(time.Minute + time.Second)
		}
		time.Sleep(time.Hour)
		if len(s.sealed()) != 5 || c.count(`msg="audit checkpoint" checkpoint=`+s.sealed()[4]) != 1 {
			t.Errorf("%d checkpoints\n%s", len(s.sealed()), c.lines)
		}
		// What a checkpoint names is on the disk.
		mustAppend(t, l, "b")
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		named := strings.LastIndex(d.text(), `{"seq":`)
		d.set(func() {
			if d.synced < named {
				t.Errorf("%d bytes are synced, the checkpoint names %d", d.synced, named)
			}
		})
		mustAppend(t, l, "c")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if r := whole(t, VerifyOptions{Heads: []string{s.sealed()[6]}}, d.saved(t)); r.Keys[0].Checkpoints != 7 || len(s.sealed()) != 7 {
			t.Errorf("%+v", r)
		}
	})
}

func TestLateCheckpointSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := &disk{room: -1}, &signer{keys: []*ecdsa.PrivateKey{newKey()}, err: errors.New("no token")}
		l, c := openSealed(t, d, s)
		due := time.Now().Add(time.Minute)
		mustAppend(t, l, "a")
		time.Sleep(10 * time.Minute)
		mustAppend(t, l, "b")
		s.set(func() { s.err = nil })
		time.Sleep(time.Minute + time.Second)
		if c.count("is late") != 1 || c.count("late_since") != 1 || len(s.sealed()) != 1 {
			t.Fatalf("%s", c.lines)
		}
		if p, err := readCheckpoint(s.sealed()[0]); err != nil || !p.claims.LateSince.Equal(due) {
			t.Error(p.claims, err)
		}
		mustAppend(t, l, "c")
		time.Sleep(time.Minute + time.Second)
		if p, err := readCheckpoint(s.sealed()[1]); err != nil || !p.claims.LateSince.IsZero() {
			t.Error(p.claims, err)
		}
		s.set(func() { s.keys = nil })
		mustAppend(t, l, "d")
		if err := l.Checkpoint(t.Context()); err == nil || !strings.Contains(err.Error(), "has no key that signs") {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		whole(t, VerifyOptions{Heads: []string{s.sealed()[1]}}, d.saved(t))
	})
}

// TestHangingSealHoldsNobody: lines are written, files change and the log is closed.
func TestHangingSealHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := &disk{room: -1}, &signer{keys: []*ecdsa.PrivateKey{newKey()}, hang: make(chan struct{})}
		l, c := openSealed(t, d, s)
		mustAppend(t, l, "a")
		time.Sleep(time.Minute + time.Second) // Seal hangs
		within := func(limit time.Duration, do func() error) {
			t.Helper()
			start := time.Now()
			if err := do(); err != nil || time.Since(start) > limit {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
		within(0, func() error { return l.Append(t.Context(), record("b")) })
		within(sealWait, l.Reopen)
		within(0, func() error { return l.Append(t.Context(), record("c")) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Checkpoint(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		within(2*sealWait, l.Close)
		close(s.hang)
		synctest.Wait()
		if c.count("is late") != 1 || strings.Contains(d.text(), "checkpoint") {
			t.Errorf("%s\n%s", c.lines, d.text())
		}
		whole(t, VerifyOptions{}, d.saved(t))
	})
}

// wrongSigner signs, but something else.
type wrongSigner struct {
	*signer
	wrong *ecdsa.PrivateKey
}

func (w wrongSigner) Seal(_ context.Context, payload []byte) (string, error) {
	return seal(w.wrong, payload), nil
}

func TestWrongSealIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(path, Options{Sealer: wrongSigner{&signer{keys: []*ecdsa.PrivateKey{newKey()}}, newKey()}})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, "a")
	if err := l.Checkpoint(t.Context()); err == nil || !strings.Contains(err.Error(), "was signed wrongly") {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := whole(t, VerifyOptions{}, path); len(r.Keys) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestKeyThatIsToComeIsVouchedFor: though nothing else is written.
func TestKeyThatIsToComeIsVouchedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := &disk{room: -1}, &signer{keys: []*ecdsa.PrivateKey{newKey()}}
		l, _ := openSealed(t, d, s)
		mustAppend(t, l, "a")
		kids := []string{kidOf(s.keys[0])}
		for range 3 {
			time.Sleep(2 * time.Minute)
			s.set(func() { s.keys = append(s.keys, newKey()) })
			time.Sleep(2 * time.Minute)
			s.set(func() { s.keys = s.keys[1:] })
			kids = append(kids, kidOf(s.keys[0]))
		}
		mustAppend(t, l, "b")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range whole(t, VerifyOptions{KIDs: kids[:1]}, d.saved(t)).Keys {
			got = append(got, k.KID)
		}
		if !slices.Equal(got, kids) {
			t.Errorf("keys %v, want %v", got, kids)
		}
	})
}

// TestKeyThatNobodyVouchesFor: an emergency, in which the old key signs no more.
func TestKeyThatNobodyVouchesFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	s := &signer{keys: []*ecdsa.PrivateKey{newKey()}}
	l, err := Open(path, Options{Sealer: s})
	if err != nil {
		t.Fatal(err)
	}
	var kids []string
	for range 2 {
		mustAppend(t, l, "a")
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		kids = append(kids, kidOf(s.keys[0]))
		s.set(func() { s.keys = []*ecdsa.PrivateKey{newKey()} })
	}
	s.set(func() { s.err = errors.New("no token") })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole(t, VerifyOptions{KIDs: kids}, path)
	if r, err := Verify([]string{path}, VerifyOptions{KIDs: kids[:1]}); err != nil || r.Fault == nil || r.Fault.Kind != UnknownKey || r.Fault.Line != 6 {
		t.Error(r, err)
	}
}

// TestSealThatSpansAReopen: the new file knows the key before the checkpoint that was begun
// in the old one.
func TestSealThatSpansAReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		s := &signer{keys: []*ecdsa.PrivateKey{newKey()}}
		l, err := Open(path, Options{Sealer: s})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "a")
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "b")
		hang := make(chan struct{})
		s.set(func() { s.hang = hang })
		time.Sleep(time.Minute + time.Second) // Seal hangs
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		s.set(func() { s.hang = nil })
		close(hang)
		synctest.Wait()
		mustAppend(t, l, "c")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(strings.SplitN(string(data), "\n", 2)[0], `"audit_key"`) || strings.Count(string(data), `"checkpoint"`) != 2 {
			t.Errorf("%s, %v", data, err)
		}
		whole(t, VerifyOptions{KIDs: []string{kidOf(s.keys[0])}}, path)
		whole(t, VerifyOptions{KIDs: []string{kidOf(s.keys[0])}}, path, path+".1")
	})
}
