package rotation_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"keysetd.example/rotation"
)

// plainStore keeps documents as they are, for tests that have no time for an encoding. It has no history.
type plainStore struct {
	fate  *fate
	mu    sync.Mutex
	docs  map[string]rotation.Versioned
	marks map[string]map[int]time.Time
}

func newPlainStore(fate *fate) *plainStore {
	return &plainStore{fate: fate, docs: map[string]rotation.Versioned{}, marks: map[string]map[int]time.Time{}}
}

func (s *plainStore) Load(context.Context) (docs []rotation.Versioned, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, doc := range s.docs {
		docs = append(docs, doc)
	}
	return docs, nil
}

func (s *plainStore) Get(_ context.Context, keyset string) (rotation.Versioned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.docs[keyset], nil
}

func (s *plainStore) Save(_ context.Context, doc rotation.Document, version uint64, _ ...rotation.Event) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err, happens := s.fate.next("save")
	if !happens {
		return 0, err
	}
	if s.docs[doc.Keyset].Version != version {
		return 0, rotation.ErrConflict
	}
	s.docs[doc.Keyset] = rotation.Versioned{Document: doc, Version: version + 1}
	maps.DeleteFunc(s.marks[doc.Keyset], func(n int, _ time.Time) bool { _, live := doc.Find(n); return !live })
	return version + 1, errors.Join(err, doc.Validate())
}

func (*plainStore) History(context.Context, string, int) ([]rotation.Event, error) { return nil, nil }

func (s *plainStore) RaiseWatermark(_ context.Context, keyset string, n int, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err, happens := s.fate.next("raise")
	if !happens {
		return err
	}
	if _, live := s.docs[keyset].Find(n); !live {
		return rotation.ErrNotLive
	}
	if s.marks[keyset] == nil {
		s.marks[keyset] = map[int]time.Time{}
	}
	s.marks[keyset][n] = later(s.marks[keyset][n], until)
	return err
}

func (s *plainStore) Watermarks(_ context.Context, keyset string) (map[int]time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.marks[keyset]), nil
}
