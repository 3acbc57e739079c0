package hsmtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// growth is what a leak would let grow, of this process, which has the daemon's half in it.
type growth struct {
	descriptors, threads, children, goroutines int
	heap                                       uint64 // bytes
}

func (g growth) String() string {
	return fmt.Sprintf("%d descriptors, %d threads, %d children, %d goroutines, %d KiB of heap", g.descriptors, g.threads, g.children, g.goroutines, g.heap>>10)
}

func grown(t *testing.T) growth {
	t.Helper()
	runtime.GC()
	runtime.GC() // what had a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return growth{
		descriptors: len(descriptors(t)), threads: len(entries(t, "/proc/self/task")), children: children(t),
		goroutines: runtime.NumGoroutine(), heap: m.HeapAlloc,
	}
}

// compare allows for what does not add up with the number of failures: threads that the
// runtime keeps for later, a call that is not quite over, maps that have grown to their size.
func (g growth) compare(t *testing.T, after growth) {
	t.Helper()
	t.Logf("before: %v; after: %v", g, after)
	const threads, goroutines, heap = 12, 12, 4 << 20
	switch {
	case after.descriptors > g.descriptors, after.threads > g.threads+threads, after.children > g.children,
		after.goroutines > g.goroutines+goroutines, after.heap > g.heap+heap:
		t.Errorf("the failures left something behind: before %v; after %v", g, after)
	}
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// descriptors are the open files of this process, without the runtime's own.
func descriptors(t *testing.T) (open []string) {
	t.Helper()
	for _, e := range entries(t, "/proc/self/fd") {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			open = append(open, target)
		}
	}
	return open
}

// children counts this process's, those that nobody waited for included (proc_pid_stat(5)).
func children(t *testing.T) (n int) {
	t.Helper()
	self := fmt.Sprint(os.Getpid())
	for _, e := range entries(t, "/proc") {
		b, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == self {
			n++
		}
	}
	return n
}
