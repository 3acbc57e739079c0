package audit

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// TestNoCrashLooksLikeAnAttack: whatever a power cut takes of what was not on the disk, with a
// sick disk or not, the next start finds the line that it noted.
func TestNoCrashLooksLikeAnAttack(t *testing.T) {
	dir := t.TempDir()
	path, anchor := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "audit.head")
	rapid.Check(t, func(t *rapid.T) {
		os.Remove(anchor)
		d := &disk{room: -1}
		open := func() *Log {
			l, err := openWith("audit.jsonl", Options{Anchor: anchor, Sync: rapid.SampledFrom([]Sync{SyncSecond, SyncAlways}).Draw(t, "sync")},
				func(string) (file, error) { return d, nil })
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := open()
		for i := range rapid.IntRange(1, 15).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"line", "line", "line", "sync", "sick", "crash", "restart"}).Draw(t, "step") {
			case "line":
				l.Append(t.Context(), record(strconv.Itoa(i)))
			case "sync":
				l.sync()
			case "sick":
				d.set(func() {
					d.room = rapid.SampledFrom([]int{-1, -1, 0, 20, 150, 230, 500}).Draw(t, "room")
					d.truncateErr, d.syncErr = nil, nil
					if rapid.Bool().Draw(t, "no truncate") {
						d.truncateErr = os.ErrPermission
					}
					if rapid.Bool().Draw(t, "no sync") {
						d.syncErr = syscall.EIO
					}
				})
			case "crash":
				l.stop()
				l.stopped.Wait()
				d.set(func() {
					least := min(d.synced, len(d.data))
					d.data = d.data[:rapid.IntRange(least, len(d.data)).Draw(t, "left")]
					d.room = -1
				})
				l = open()
			case "restart":
				l.Close()
				l = open()
			}
		}
		d.set(func() { d.room, d.truncateErr, d.syncErr = -1, nil, nil })
		if err := l.sync(); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(t.Context(), record("last")); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if err := os.WriteFile(path, []byte(d.text()), 0o600); err != nil {
			t.Fatal(err)
		}
		whole(t, VerifyOptions{}, path)
	})
}
