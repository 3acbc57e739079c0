package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// disk is a file in memory on a disk that can be full, sick, or slow.
type disk struct {
	mu          sync.Mutex
	data        []byte
	room        int // bytes until ENOSPC; -1: no limit
	writeErr    error
	syncErr     error
	truncateErr error
	writes      int
	syncs       int
	synced      int           // bytes that a sync has covered
	slow        time.Duration // of a sync
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	if d.writeErr != nil {
		return 0, d.writeErr
	}
	if d.room >= 0 && len(p) > d.room {
		n := d.room
		d.data = append(d.data, p[:n]...)
		d.room = 0
		return n, syscall.ENOSPC
	}
	if d.room >= 0 {
		d.room -= len(p)
	}
	d.data = append(d.data, p...)
	return len(p), nil
}

func (d *disk) Sync() error {
	d.mu.Lock()
	n, err := len(d.data), d.syncErr
	d.syncs++
	slow := d.slow
	d.mu.Unlock()
	time.Sleep(slow)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.synced = n
	}
	return err
}

func (d *disk) Size() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.data)), nil
}

func (d *disk) Truncate(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.truncateErr == nil {
		d.data = d.data[:size]
	}
	return d.truncateErr
}

func (d *disk) Close() error { return nil }

func (d *disk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *disk) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.data)
}

func (d *disk) Where() (place, error) { return here, nil }

func (d *disk) ReadAt(p []byte, at int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.NewReader(d.data).ReadAt(p, at)
}

func openDisk(t *testing.T, d *disk, mode Sync) *Log {
	t.Helper()
	l, err := openWith("audit.jsonl", Options{Sync: mode}, func(string) (file, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFullDisk(t *testing.T) {
	for name, truncateErr := range map[string]error{"taken back": nil, "ended": os.ErrPermission} {
		for _, mode := range []Sync{SyncSecond, SyncAlways} {
			d := &disk{room: -1, truncateErr: truncateErr}
			l := openDisk(t, d, mode)
			mustAppend(t, l, "a")
			d.set(func() { d.room = 20 })
			for range 2 {
				err := l.Append(t.Context(), record("lost"))
				const want = "writing the audit log audit.jsonl: no space left on device; nothing is signed until it can be written"
				if !errors.Is(err, syscall.ENOSPC) || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			d.set(func() { d.room = -1 })
			mustAppend(t, l, "b")
			if truncateErr == nil {
				expect(t, jtisOf(d.text()), "a", "b")
			} else {
				expect(t, jtisOf(d.text()), "a", "TORN", "b")
			}
			if err := l.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestSecondSyncsOnceASecondWhenDirty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1}
		l := openDisk(t, d, SyncSecond)
		time.Sleep(10 * time.Second)
		if d.syncs != 0 {
			t.Errorf("%d syncs of a clean file", d.syncs)
		}
		for range 30 {
			mustAppend(t, l, "a")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		d.set(func() {
			if d.syncs < 3 || d.syncs > 4 || d.synced != len(d.data) {
				t.Errorf("%d syncs in 3 s of writing, %d of %d bytes synced", d.syncs, d.synced, len(d.data))
			}
		})
		mustAppend(t, l, "b")
		if err := l.Close(); err != nil || d.synced != len(d.data) {
			t.Errorf("Close left %d of %d bytes synced, %v", d.synced, len(d.data), err)
		}
	})
}

func TestSecondRefusesWhileSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1, syncErr: syscall.EIO}
		l := openDisk(t, d, SyncSecond)
		mustAppend(t, l, "a")
		time.Sleep(1100 * time.Millisecond)
		if err := l.Append(t.Context(), record("b")); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "syncing the audit log audit.jsonl") {
			t.Errorf("after a failed sync: %v", err)
		}
		d.set(func() { d.syncErr = nil })
		time.Sleep(1100 * time.Millisecond)
		mustAppend(t, l, "c")
		expect(t, jtisOf(d.text()), "a", "c")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAlwaysIsSyncedBeforeItReturnsAndShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1, slow: 10 * time.Millisecond}
		l := openDisk(t, d, SyncAlways)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				size := len(d.text())
				mustAppend(t, l, "a")
				d.set(func() {
					if d.synced <= size {
						t.Error("returned before the sync")
					}
				})
			})
		}
		wg.Wait()
		if d.syncs > 3 || d.writes != d.syncs || len(jtisOf(d.text())) != 100 {
			t.Errorf("%d syncs and %d writes for %d lines", d.syncs, d.writes, len(jtisOf(d.text())))
		}
		d.set(func() { d.syncErr = syscall.EIO })
		if err := l.Append(t.Context(), record("b")); !errors.Is(err, syscall.EIO) {
			t.Errorf("with a failing sync: %v", err)
		}
		d.set(func() { d.syncErr = nil })
		mustAppend(t, l, "c")
		if got := jtisOf(d.text()); len(got) != 101 || got[100] != "c" {
			t.Errorf("the line that was not synced stands: %v", got[99:])
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A caller whose time is over is not held by a slow disk, and those who joined its group
// are served all the same.
func TestContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1, slow: time.Second}
		l := openDisk(t, d, SyncAlways)
		var wg sync.WaitGroup
		wg.Go(func() { mustAppend(t, l, "first") })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for range 2 { // the leader of the next group, and one who joined
			wg.Go(func() {
				start := time.Now()
				if err := l.Append(short, record("short")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 200*time.Millisecond {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			})
			synctest.Wait()
		}
		wg.Go(func() { mustAppend(t, l, "patient") })
		wg.Wait()
		expect(t, jtisOf(d.text()), "first", "short", "short", "patient")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
