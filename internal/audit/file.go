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
	there, err := os.Stat(f.Name())
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
//	open(path, O_RDWR|O_APPEND|O_CREAT|O_CLOEXEC, 0600), fstat,
//	and fsync of the directory, for a file that was just created to be there after a power cut.
func openFile(path string) (f file, err error) {
	o, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
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
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file, and only those can be synced", path)
	}
	if fi.Size() == 0 {
		err = syncDir(filepath.Dir(path))
	}
	return osFile{o}, err
}

// openTail opens the file at path, and reads how it ends.
func openTail(open opener, path string) (file, tail, error) {
	f, err := open(path)
	if err != nil {
		return nil, tail{}, err
	}
	size, err := f.Size()
	var t tail
	if err == nil {
		t, err = findTail(f, size)
	}
	if err != nil {
		f.Close()
		return nil, tail{}, fmt.Errorf("reading the end of %s: %w", path, err)
	}
	return f, t, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
