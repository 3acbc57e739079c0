package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"keysetd.example/rotation"
)

// oldFormat is the only other one there was, of the store and of its documents. It had no bucket watermarks.
const (
	oldFormat         = "1"
	oldDocumentFormat = 1
)

// migrate brings a store of the old format to this one; any other it leaves alone. Another
// process cannot have it open meanwhile.
//
//	write(PATH.format-1.*.new), fsync, link(…, PATH.format-1), unlink(…), fsync(directory)
//	one transaction of bbolt: bucket watermarks, every document, the format
//
// So wherever it is stopped there is a store of the one format or of the other. If PATH.format-1
// is there and is something else, the copy is PATH.format-1.2, and so on.
func (s *Bolt) migrate(reached func(string)) error {
	old := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		old = isOld(tx)
		return nil
	})
	if err != nil || !old {
		return err
	}
	kept, err := s.copyAside(s.db.Path()+".format-"+oldFormat, reached)
	if err != nil {
		return fmt.Errorf("copying it before it is migrated from format %s to %s: %w", oldFormat, format, err)
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if err := s.check(tx, oldFormat, tokensBucket, keysetsBucket, historyBucket); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(watermarksBucket); err != nil {
			return err
		}
		if err := s.migrateDocuments(tx.Bucket(keysetsBucket), reached); err != nil {
			return err
		}
		return tx.Bucket(metaBucket).Put(formatKey, []byte(format))
	})
	if err != nil {
		return fmt.Errorf("migrating it from format %s to %s (nothing was changed; %s is a copy): %w", oldFormat, format, kept, err)
	}
	reached("migrated")
	s.migrated = kept
	return nil
}

func isOld(tx *bbolt.Tx) bool {
	meta := tx.Bucket(metaBucket)
	return meta != nil && string(meta.Get(formatKey)) == oldFormat
}

func (s *Bolt) copyAside(base string, reached func(string)) (kept string, err error) {
	temp, err := writeTemp(base, func(w io.Writer) error {
		return s.db.View(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(w)
			return err
		})
	})
	if err != nil {
		return "", err
	}
	reached("copy written")
	kept, err = keep(temp, base)
	if err == nil {
		reached("copy kept")
	}
	err = errors.Join(err, os.Remove(temp), syncDirectory(filepath.Dir(base)))
	reached("copy done")
	return kept, err
}

func (s *Bolt) migrateDocuments(keysets *bbolt.Bucket, reached func(string)) error {
	migrated := map[string][]byte{} // a bucket is not changed while it is read
	err := keysets.ForEach(func(name, value []byte) error {
		if len(value) < 8 {
			return fmt.Errorf("bucket keysets, keyset %q cannot be read: it is shorter than its version", name)
		}
		doc, err := migrateDocument(string(name), value[8:])
		if err != nil {
			return fmt.Errorf("bucket keysets, keyset %q cannot be read: %w", name, err)
		}
		// Nobody has it open, so its version stays.
		migrated[string(name)] = append(binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(value)), doc...)
		return nil
	})
	if err != nil {
		return err
	}
	for name, value := range migrated {
		if err := keysets.Put([]byte(name), value); err != nil {
			return err
		}
		reached("document migrated")
	}
	return nil
}

// migrateDocument reads a document of format 1 and writes it in format 2, which has more
// members and lost none. What format 1 did not tell is unknown and stays unset.
func migrateDocument(name string, b []byte) ([]byte, error) {
	doc, err := decodeFormat(name, b, oldDocumentFormat)
	if err != nil {
		return nil, err
	}
	doc.Format = rotation.Format
	return encodeDocument(doc)
}
