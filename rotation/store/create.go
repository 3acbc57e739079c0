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

// idLength of an installation id in bytes.
const idLength = 16

// Create makes a new store at path, with mode 0600 and a random installation id. If there is
// a file at path already it fails with fs.ErrExist and leaves it alone. Its directory must exist.
//
// The store comes into being whole or not at all:
//
//	openat(PATH.new), write, fdatasync, link(PATH.new, PATH), unlink(PATH.new), fsync(directory)
func Create(path string) (*Bolt, error) {
	id := make([]byte, idLength)
	rand.Read(id) // never fails, crypto/rand
	return CreateFor(path, hex.EncodeToString(id), func(*Bolt) error { return nil })
}

// CreateFor makes a store in the place of one that was lost: with the id of an installation
// that exists, 32 hex digits, and with what fill puts into it. It is at path only when all of that is in it.
func CreateFor(path, installation string, fill func(*Bolt) error) (*Bolt, error) {
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		err = fs.ErrExist
	case !IsInstallation(installation):
		err = fmt.Errorf("%q is no installation id, which is %d hex digits", installation, 2*idLength)
	default:
		err = create(path, installation, fill)
	}
	if err != nil {
		return nil, fmt.Errorf("creating the store %s: %w", path, err)
	}
	return Open(path)
}

// IsInstallation reports whether a store may have this installation id.
func IsInstallation(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == idLength && hex.EncodeToString(b) == id
}

func create(path, installation string, fill func(*Bolt) error) (err error) {
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
	db.MaxBatchDelay = batchDelay
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{tokensBucket, keysetsBucket, watermarksBucket, historyBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return errors.Join(meta.Put(formatKey, []byte(format)), meta.Put(installationKey, []byte(installation)))
	})
	if err == nil {
		err = fill(&Bolt{db: db, installation: installation})
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
