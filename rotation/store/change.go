package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"keysetd.example/rotation"
)

// Save implements rotation.Store. Saves of several keysets at once share a transaction.
func (s *Bolt) Save(ctx context.Context, doc rotation.Document, version uint64, events ...rotation.Event) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	value, err := encodeDocument(doc)
	if err != nil {
		return 0, fmt.Errorf("store %s: keyset %q: %w", s.db.Path(), doc.Keyset, err)
	}
	value = append(binary.BigEndian.AppendUint64(nil, version+1), value...)
	err = s.change(func(tx *bbolt.Tx) error {
		keysets := tx.Bucket(keysetsBucket)
		var found uint64
		if old := keysets.Get([]byte(doc.Keyset)); old != nil {
			before, err := s.decode(doc.Keyset, old) // what cannot be read is not written over
			if err != nil {
				return err
			}
			found = before.Version
		}
		if found != version {
			return fmt.Errorf("%w: it is at version %d, not %d", rotation.ErrConflict, found, version)
		}
		if err := keysets.Put([]byte(doc.Keyset), value); err != nil {
			return err
		}
		if err := forgetWatermarks(tx, doc); err != nil {
			return err
		}
		return appendEvents(tx, doc.Keyset, events)
	})
	if err != nil {
		return 0, fmt.Errorf("store %s: saving keyset %q: %w", s.db.Path(), doc.Keyset, err)
	}
	return version + 1, nil
}

func appendEvents(tx *bbolt.Tx, keyset string, events []rotation.Event) error {
	if len(events) == 0 {
		return nil
	}
	history, err := tx.Bucket(historyBucket).CreateBucketIfNotExists([]byte(keyset))
	if err != nil {
		return err
	}
	for _, e := range events {
		value, err := json.Marshal(e)
		if err != nil {
			return err
		}
		number, err := history.NextSequence()
		if err != nil {
			return err
		}
		if err := history.Put(binary.BigEndian.AppendUint64(nil, number), value); err != nil {
			return err
		}
	}
	return nil
}

// History implements rotation.Store.
func (s *Bolt) History(ctx context.Context, keyset string, limit int) (events []rotation.Event, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		history := tx.Bucket(historyBucket).Bucket([]byte(keyset))
		if history == nil {
			return nil
		}
		c := history.Cursor()
		for key, value := c.Last(); key != nil && len(events) < limit; key, value = c.Prev() {
			e, err := decodeEvent(value)
			if err != nil {
				return fmt.Errorf("store %s: bucket history, keyset %q, event %x cannot be read: %w", s.db.Path(), keyset, key, err)
			}
			events = append(events, e)
		}
		return nil
	})
	slices.Reverse(events)
	return events, err
}
