package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// keep gives the file temp the name base, or base.2, base.3 and so on: the first that is
// free, or that a file with the same content has. What exists is never written over. It returns
// the name; temp may be removed then. The caller syncs the directory.
func keep(temp, base string) (string, error) {
	for n := 1; ; n++ {
		name := keptName(base, n)
		err := os.Link(temp, name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if same, err := sameContent(temp, name); err != nil || same {
			return name, err
		}
	}
}

// keptName is the nth name that keep tries, from 1.
func keptName(base string, n int) string {
	if n == 1 {
		return base
	}
	return fmt.Sprintf("%s.%d", base, n)
}

func sameContent(one, other string) (bool, error) {
	a, err := os.Open(one)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := os.Open(other)
	if err != nil {
		return false, err
	}
	defer b.Close()
	const size = 64 << 10
	left, right := make([]byte, size), make([]byte, size)
	for {
		n, errA := io.ReadFull(a, left)
		m, errB := io.ReadFull(b, right)
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if errA != nil { // both ended, at the same place
			return true, nil
		}
	}
}

// writeTemp writes a new file beside path, with mode 0600, and returns its name. When it
// returns the content is on disk.
func writeTemp(path string, write func(io.Writer) error) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // mode 0600
	if err != nil {
		return "", err
	}
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
