package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"keysetd.example/rotation"
)

// RaiseWatermark implements rotation.Store. Several at once share a transaction, also with Saves.
func (s *Bolt) RaiseWatermark(ctx context.Context, keyset string, generation int, until time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	value, err := encodeTime(until)
	if err != nil {
		return fmt.Errorf("store %s: the watermark of keyset %q, generation %d: %w", s.db.Path(), keyset, generation, err)
	}
	err = s.change(func(tx *bbolt.Tx) error {
		if err := s.mustBeLive(tx, keyset, generation); err != nil {
			return err
		}
		marks, err := tx.Bucket(watermarksBucket).CreateBucketIfNotExists([]byte(keyset))
		if err != nil {
			return err
		}
		key := generationKey(generation)
		if old := marks.Get(key); old != nil {
			before, err := decodeTime(old) // what cannot be read is not written over
			if err != nil || !until.After(before) {
				return err
			}
		}
		return marks.Put(key, value)
	})
	if err != nil {
		return fmt.Errorf("store %s: raising the watermark of keyset %q, generation %d, to %s: %w", s.db.Path(), keyset, generation, value, err)
	}
	return nil
}

func (s *Bolt) mustBeLive(tx *bbolt.Tx, keyset string, generation int) error {
	value := tx.Bucket(keysetsBucket).Get([]byte(keyset))
	if value == nil {
		return rotation.ErrNotLive
	}
	doc, err := s.decode(keyset, value)
	if err != nil {
		return err
	}
	if _, live := doc.Find(generation); !live {
		return rotation.ErrNotLive
	}
	return nil
}

// Watermarks implements rotation.Store.
func (s *Bolt) Watermarks(ctx context.Context, keyset string) (map[int]time.Time, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := map[int]time.Time{}
	return found, s.db.View(func(tx *bbolt.Tx) error {
		marks := tx.Bucket(watermarksBucket).Bucket([]byte(keyset))
		if marks == nil {
			return nil
		}
		return marks.ForEach(func(key, value []byte) error {
			until, err := decodeTime(value)
			if err == nil && len(key) != 8 {
				err = errors.New("its key is no generation")
			}
			if err != nil {
				return fmt.Errorf("store %s: bucket watermarks, keyset %q, generation %x cannot be read: %w", s.db.Path(), keyset, key, err)
			}
			found[int(binary.BigEndian.Uint64(key))] = until
			return nil
		})
	})
}

// forgetWatermarks forgets those of generations that doc no longer has.
func forgetWatermarks(tx *bbolt.Tx, doc rotation.Document) error {
	marks := tx.Bucket(watermarksBucket).Bucket([]byte(doc.Keyset))
	if marks == nil {
		return nil
	}
	live := map[string]bool{}
	for _, g := range doc.Generations {
		live[string(generationKey(g.Number))] = true
	}
	var gone [][]byte // a bucket is not changed while it is read
	err := marks.ForEach(func(key, _ []byte) error {
		if !live[string(key)] {
			gone = append(gone, bytes.Clone(key))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range gone {
		if err := marks.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func generationKey(number int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(number)) }

func encodeTime(t time.Time) ([]byte, error) { return t.UTC().MarshalText() }

func decodeTime(b []byte) (t time.Time, err error) { return t, t.UnmarshalText(b) }
