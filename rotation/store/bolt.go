// Package store keeps rotation's documents: Bolt in a file, Memory for tests.
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"keysetd.example/rotation"
)

// ErrInUse means that another process has the store open.
var ErrInUse = errors.New("another process has it open")

// ErrReplaced means that the file is not at its path any more. Nothing is written then.
var ErrReplaced = errors.New("the file was removed or replaced under keysetd; stop it and put it back (or run `keysetd recover`)")

// Bolt is a store in one file, which one process at a time may have open:
//
//	meta
//	├── format         "2"
//	└── installation   32 hex digits, random
//	tokens
//	└── NAME           serial number, as the token gave it
//	keysets
//	└── NAME           version (8 bytes, big endian) ‖ document (JSON)
//	watermarks
//	└── NAME           a bucket
//	    └── generation (8 bytes, big endian) → time (RFC 3339, UTC)
//	history
//	└── NAME           a bucket
//	    └── number     (8 bytes, big endian, from 1) → event (JSON)
//
// Each change is one transaction, and durable when the method returns: bbolt writes the
// pages and calls fdatasync(2), then writes the page that refers to them and calls fdatasync(2) again.
//
// Watermarks are apart from the documents, as they change far more often, and without a new version.
// Format 1 had none; see migrate.go.
type Bolt struct {
	db           *bbolt.DB
	file         fs.FileInfo // that db has open; nil where nobody else knows of it yet
	installation string
	migrated     string
}

const (
	format      = "2"
	lockTimeout = 100 * time.Millisecond
	// batchDelay is how long a change waits for others to share its fdatasync.
	batchDelay = 2 * time.Millisecond
)

var (
	metaBucket       = []byte("meta")
	tokensBucket     = []byte("tokens")
	keysetsBucket    = []byte("keysets")
	watermarksBucket = []byte("watermarks")
	historyBucket    = []byte("history")

	formatKey       = []byte("format")
	installationKey = []byte("installation")
)

// Open opens the store at path. It never makes one. If another process has it open it
// fails with ErrInUse at once. One that an older version left is migrated, after a copy of it
// was put beside it; see Migrated.
func Open(path string) (*Bolt, error) {
	s, err := open(path, func(string) {})
	if err != nil {
		return nil, openError(path, err)
	}
	return s, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return absentError(path)
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("the store %s: %w; is another keysetd running?", path, ErrInUse)
	}
	return fmt.Errorf("opening the store %s: %w", path, err)
}

// absentError is that there is no store at a path. It is fs.ErrNotExist.
type absentError string

func (path absentError) Error() string {
	return fmt.Sprintf("there is no store at %s: if it was lost, `keysetd recover` rebuilds it; `keysetd init` makes a new one", string(path))
}

func (absentError) Unwrap() error { return fs.ErrNotExist }

// open tells reached what a migration has come to.
func open(path string, reached func(string)) (s *Bolt, err error) {
	defer survive(&err)()
	s = &Bolt{}
	if s.db, s.file, err = openFile(path, false); err != nil {
		return nil, err
	}
	s.db.MaxBatchDelay = batchDelay
	err = s.migrate(reached)
	if err == nil {
		err = s.db.View(func(tx *bbolt.Tx) error {
			return s.check(tx, format, tokensBucket, keysetsBucket, watermarksBucket, historyBucket)
		})
	}
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// survive makes what bbolt does with a damaged file an error: it panics on pages that make
// no sense, and reads them through a mapping that a file cut short leaves hanging in the air.
func survive(err *error) (ended func()) {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("the file is damaged (%v); put a backup in its place", p)
		}
	}
}

func openFile(path string, readOnly bool) (db *bbolt.DB, opened fs.FileInfo, err error) {
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:  lockTimeout,
		ReadOnly: readOnly,
		OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			if err != nil {
				return nil, err
			}
			// bbolt would make an empty file a database.
			if opened, err = f.Stat(); err != nil || opened.Size() == 0 {
				return nil, errors.Join(errors.New("the file is empty: no store of keysetd, or damaged"), err, f.Close())
			}
			return f, nil
		},
	})
	return db, opened, err
}

// inPlace fails with ErrReplaced where the store's path no longer leads to the file that is open: what
// is written into that nobody would ever read again.
func (s *Bolt) inPlace() error {
	if s.file == nil {
		return nil
	}
	info, err := os.Stat(s.db.Path())
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking whether it is in its place: %w", err)
	case err != nil || !os.SameFile(info, s.file):
		return ErrReplaced
	}
	return nil
}

// change makes a change in a transaction of its own or with others', if the store is in its place. As
// bbolt may call do more than once, all it does is in its transaction.
func (s *Bolt) change(do func(*bbolt.Tx) error) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		if err := s.inPlace(); err != nil {
			return err
		}
		return do(tx)
	})
}

// check reads what a store of this format has.
func (s *Bolt) check(tx *bbolt.Tx, want string, buckets ...[]byte) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return errors.New("it is no store of keysetd: bucket meta is missing")
	}
	if got := string(meta.Get(formatKey)); got != want {
		return fmt.Errorf("it has format %q and this version knows %q; it may be of a newer keysetd", got, format)
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("it is damaged: bucket %s is missing", name)
		}
	}
	s.installation = string(meta.Get(installationKey))
	if !IsInstallation(s.installation) {
		return errors.New("it is damaged: bucket meta has no installation id of 32 hex digits")
	}
	return nil
}

// Close closes the store, once what is under way has ended.
func (s *Bolt) Close() error { return s.db.Close() }

// Migrated is the path of the copy of the store as it was, if Open had to migrate it; else "".
func (s *Bolt) Migrated() string { return s.migrated }

// Installation is the id that the store was made with.
func (s *Bolt) Installation() string { return s.installation }

// TokenSerial returns the serial number remembered for a token of the configuration; ""
// if none is.
func (s *Bolt) TokenSerial(name string) (serial string, err error) {
	return serial, s.db.View(func(tx *bbolt.Tx) error {
		serial = string(tx.Bucket(tokensBucket).Get([]byte(name)))
		return nil
	})
}

// RememberToken keeps the serial number of a token, in place of any other.
func (s *Bolt) RememberToken(name, serial string) error {
	err := s.change(func(tx *bbolt.Tx) error { return tx.Bucket(tokensBucket).Put([]byte(name), []byte(serial)) })
	if err != nil {
		return fmt.Errorf("remembering the serial number of token %s in %s: %w", name, s.db.Path(), err)
	}
	return nil
}

// Load implements rotation.Store. The documents come in the order of their names.
func (s *Bolt) Load(ctx context.Context) (docs []rotation.Versioned, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return docs, s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(keysetsBucket).ForEach(func(name, value []byte) error {
			doc, err := s.decode(string(name), value)
			docs = append(docs, doc)
			return err
		})
	})
}

// Get implements rotation.Store.
func (s *Bolt) Get(ctx context.Context, keyset string) (doc rotation.Versioned, err error) {
	if err := ctx.Err(); err != nil {
		return doc, err
	}
	return doc, s.db.View(func(tx *bbolt.Tx) error {
		if value := tx.Bucket(keysetsBucket).Get([]byte(keyset)); value != nil {
			doc, err = s.decode(keyset, value)
		}
		return err
	})
}

func (s *Bolt) decode(name string, value []byte) (rotation.Versioned, error) {
	var doc rotation.Document
	err := errors.New("it is shorter than its version")
	if len(value) >= 8 {
		doc, err = decodeDocument(name, value[8:])
	}
	if err != nil {
		return rotation.Versioned{}, fmt.Errorf("store %s: bucket keysets, keyset %q cannot be read: %w", s.db.Path(), name, err)
	}
	return rotation.Versioned{Document: doc, Version: binary.BigEndian.Uint64(value)}, nil
}
