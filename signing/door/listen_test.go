package door

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func listenOrFail(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// stale leaves a socket that nobody listens on, as a killed daemon does.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	stale(t, path)
	l := listenOrFail(t, path)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket stayed when its listener was closed")
	}
}

func TestLiveSocketIsNotReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	listenOrFail(t, path)
	if _, err := Listen(path, 0o600, -1); err == nil || !strings.Contains(err.Error(), "listening there already") {
		t.Errorf("a second listener: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first listener is gone: %v", err)
	}
	c.Close()
}

func TestOtherThingsAreNeverRemoved(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	stale(t, filepath.Join(dir, "stale"))
	if err := os.Symlink(filepath.Join(dir, "stale"), link); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, sub} {
		if _, err := Listen(path, 0o600, -1); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestListenPaths(t *testing.T) {
	dir := shortDir(t)
	for path, want := range map[string]string{
		filepath.Join(dir, "missing", "s"):               "missing does not exist",
		filepath.Join(dir, strings.Repeat("s", MaxPath)): "a socket's can have 107",
		"@abstract": "abstract",
		"":          "path in the file system",
	} {
		if _, err := Listen(path, 0o600, -1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", path, err)
		}
	}
	l, err := Listen(filepath.Join(dir, strings.Repeat("s", MaxPath-len(dir)-1)), 0o600, -1)
	if err != nil {
		t.Errorf("the longest path: %v", err)
	} else {
		l.Close()
	}
}

func TestSocketMode(t *testing.T) {
	dir := shortDir(t)
	for _, umask := range []int{0, 0o777} {
		func() {
			defer syscall.Umask(syscall.Umask(umask))
			for _, mode := range []fs.FileMode{0o600, 0o660, 0o666} {
				path := filepath.Join(dir, mode.String())
				l, err := Listen(path, mode, os.Getgid())
				if err != nil {
					t.Fatal(err)
				}
				info, err := os.Lstat(path)
				if err != nil || info.Mode().Perm() != mode || int(info.Sys().(*syscall.Stat_t).Gid) != os.Getgid() {
					t.Errorf("umask %o, mode %v: %v, %v", umask, mode, info.Mode(), err)
				}
				l.Close()
			}
		}()
	}
}

// At no instant between its making and its being ready is the socket open to others.
func TestNoWindowOfWiderRights(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	defer syscall.Umask(syscall.Umask(0))
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if info, err := os.Lstat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("seen with %v", info.Mode())
				return
			}
		}
	})
	for range 200 {
		l, err := Listen(path, 0o600, -1)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	close(stop)
	watching.Wait()
}

// Of many daemons that start at once on a stale socket one wins, and stays reachable.
func TestStartsAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(shortDir(t), "s")
		stale(t, path)
		var mu sync.Mutex
		var won []net.Listener
		var starting sync.WaitGroup
		for range 8 {
			starting.Go(func() {
				if l, err := Listen(path, 0o600, -1); err == nil {
					mu.Lock()
					won = append(won, l)
					mu.Unlock()
				}
			})
		}
		starting.Wait()
		if len(won) != 1 {
			t.Errorf("%d daemons listen", len(won))
		}
		if c, err := net.Dial("unix", path); err != nil {
			t.Error(err)
		} else {
			c.Close()
		}
		for _, l := range won {
			l.Close()
		}
	}
}
