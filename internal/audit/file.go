package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// file is what the log needs of its file; tests put one in its place that fails.
type file interface {
	// Write appends p. Where it fails, the bytes it counts stand at the end of the file.
	Write(p []byte) (int, error)
	Sync() error
	Size() (int64, error)
	Truncate(size int64) error
	Close() error
}

// opener opens the file of a log. torn tells that it ends in the middle of a line.
type opener func(path string) (f file, torn bool, err error)

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// openFile opens or creates path:
//
//	open(path, O_RDWR|O_APPEND|O_CREAT|O_CLOEXEC, 0600), fstat, pread of the last byte,
//	and fsync of the directory, for a file that was just created to be there after a power cut.
func openFile(path string) (f file, torn bool, err error) {
	o, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	fi, err := o.Stat()
	if err != nil {
		return nil, false, err
	}
	if !fi.Mode().IsRegular() {
		return nil, false, fmt.Errorf("%s is not a regular file, and only those can be synced", path)
	}
	if fi.Size() == 0 {
		return osFile{o}, false, syncDir(filepath.Dir(path))
	}
	last := make([]byte, 1)
	if _, err := o.ReadAt(last, fi.Size()-1); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	return osFile{o}, last[0] != '\n', nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
