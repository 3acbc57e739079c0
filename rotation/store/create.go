package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Create makes a new store at path, with mode 0600 and a random installation id. If there is
// a file at path already it fails with fs.ErrExist and leaves it alone. Its directory must exist.
//
// The store comes into being whole or not at all:
//
//	openat(PATH.new), write, fdatasync, link(PATH.new, PATH), unlink(PATH.new), fsync(directory)
func Create(path string) (*Bolt, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("creating the store %s: %w", path, fs.ErrExist)
	}
	if err := create(path); err != nil {
		return nil, fmt.Errorf("creating the store %s: %w", path, err)
	}
	return Open(path)
}

func create(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // mode 0600
	if err != nil {
		return err
	}
	f.Close()
	defer func() { err = errors.Join(err, os.Remove(f.Name()), syncDirectory(filepath.Dir(path))) }()
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{tokensBucket, keysetsBucket, historyBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		id := make([]byte, 16)
		rand.Read(id) // never fails, crypto/rand
		return errors.Join(meta.Put(formatKey, []byte(format)), meta.Put(installationKey, []byte(hex.EncodeToString(id))))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
