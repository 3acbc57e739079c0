package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// file is what the log needs of its file; tests put one in its place that fails.
type file interface {
	io.ReaderAt
	// Write appends p. Where it fails, the bytes it counts stand at the end of the file.
	Write(p []byte) (int, error)
	Sync() error
	Size() (int64, error)
	Truncate(size int64) error
	// Where tells what became of the file at the path under which it was opened.
	Where() (place, error)
	Close() error
}

// place is where a file is that was opened under a path.
type place int

const (
	here    place = iota
	moved         // it has another name now, as logrotate gives it
	deleted       // no name leads to it any more
)

// opener opens the file of a log.
type opener func(path string) (file, error)

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (f osFile) Where() (place, error) {
	own, err := f.Stat()
	if err != nil {
		return here, err
	}
	if sys, ok := own.Sys().(*syscall.Stat_t); ok && sys.Nlink == 0 {
		return deleted, nil
	}
	there, err := os.Lstat(f.Name()) // a link to it is another file there
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), err == nil && !os.SameFile(own, there):
		return moved, nil
	case err != nil:
		return here, err
	}
	return here, nil
}

// openFile opens or creates path:
//
//	open(path, O_RDWR|O_APPEND|O_CREAT|O_NOFOLLOW|O_CLOEXEC, 0600), fstat,
//	and fsync of the directory, for a file that was just created to be there after a power cut.
//
// It is the daemon's own file with no other name, and none of others: whoever can write to
// the log's folder must not have the daemon write into its store.
func openFile(path string, others []string) (f file, err error) {
	o, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, which is not followed; set audit.path to the file itself, or make the folder the link: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	fi, err := o.Stat()
	if err != nil {
		return nil, err
	}
	if err := ownFile(path, fi, others); err != nil {
		return nil, err
	}
	if fi.Size() == 0 {
		err = syncDir(filepath.Dir(path))
	}
	return osFile{o}, err
}

// ownFile refuses what is not a file of the daemon's own.
func ownFile(path string, fi fs.FileInfo, others []string) error {
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file, and only those can be synced", path)
	}
	for _, other := range others {
		if there, err := os.Stat(other); err == nil && os.SameFile(fi, there) {
			return fmt.Errorf("%s is the same file as %s; give the audit log a file of its own", path, other)
		}
	}
	sys, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return nil
	case sys.Nlink > 1:
		return fmt.Errorf("%s has %d names (hard links), so writing to it may change another file; move it away", path, sys.Nlink)
	case int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to uid %d and keysetd runs as uid %d; chown it, or move it away", path, sys.Uid, os.Geteuid())
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
