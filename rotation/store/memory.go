package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"keysetd.example/rotation"
)

// Memory is a store that is gone with the process, for tests. Its documents go through
// the same encoding as Bolt's.
type Memory struct {
	installation string

	mu      sync.Mutex
	docs    map[string]encoded
	history map[string][][]byte
	serials map[string]string
	marks   map[string]map[int]time.Time
	fault   func(rotation.Document) Fault
	raising func(keyset string, generation int, until time.Time) Fault
}

type encoded struct {
	version uint64
	doc     []byte
}

// Fault is how a change fails. The zero value is one that does not.
type Fault struct {
	Err error
	// Persisted: the change has its effect nevertheless.
	Persisted bool
}

// NewMemory returns an empty store.
func NewMemory(installation string) *Memory {
	return &Memory{
		installation: installation,
		docs:         map[string]encoded{}, history: map[string][][]byte{}, serials: map[string]string{}, marks: map[string]map[int]time.Time{},
	}
}

// Inject has fault asked before each Save from now on; nil for no more faults.
func (m *Memory) Inject(fault func(rotation.Document) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// InjectRaise has fault asked before each RaiseWatermark from now on; nil for no more faults.
func (m *Memory) InjectRaise(fault func(keyset string, generation int, until time.Time) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.raising = fault
}

// Installation is the id given to NewMemory.
func (m *Memory) Installation() string { return m.installation }

// Close does nothing: what is in memory stays there.
func (m *Memory) Close() error { return nil }

// TokenSerial returns the serial number remembered for a token; "" if none is.
func (m *Memory) TokenSerial(name string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serials[name], nil
}

// RememberToken keeps the serial number of a token, in place of any other.
func (m *Memory) RememberToken(name, serial string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serials[name] = serial
	return nil
}

// Load implements rotation.Store.
func (m *Memory) Load(ctx context.Context) ([]rotation.Versioned, error) {
	m.mu.Lock()
	names := slices.Sorted(maps.Keys(m.docs))
	m.mu.Unlock()
	var docs []rotation.Versioned
	for _, name := range names {
		doc, err := m.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, ctx.Err()
}

// Get implements rotation.Store.
func (m *Memory) Get(ctx context.Context, keyset string) (rotation.Versioned, error) {
	if err := ctx.Err(); err != nil {
		return rotation.Versioned{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(keyset)
}

func (m *Memory) get(keyset string) (rotation.Versioned, error) {
	e, ok := m.docs[keyset]
	if !ok {
		return rotation.Versioned{}, nil
	}
	doc, err := decodeDocument(keyset, e.doc)
	if err != nil {
		return rotation.Versioned{}, fmt.Errorf("keyset %q cannot be read: %w", keyset, err)
	}
	return rotation.Versioned{Document: doc, Version: e.version}, nil
}

// Save implements rotation.Store.
func (m *Memory) Save(ctx context.Context, doc rotation.Document, version uint64, events ...rotation.Event) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var fault Fault
	if m.fault != nil {
		fault = m.fault(doc)
	}
	if fault.Err != nil && !fault.Persisted {
		return 0, fault.Err
	}
	b, err := encodeDocument(doc)
	if err != nil {
		return 0, fmt.Errorf("keyset %q: %w", doc.Keyset, err)
	}
	if found := m.docs[doc.Keyset].version; found != version {
		return 0, fmt.Errorf("keyset %q: %w: it is at version %d, not %d", doc.Keyset, rotation.ErrConflict, found, version)
	}
	var lines [][]byte
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			return 0, err
		}
		lines = append(lines, line)
	}
	m.docs[doc.Keyset] = encoded{version: version + 1, doc: b}
	m.history[doc.Keyset] = append(m.history[doc.Keyset], lines...)
	maps.DeleteFunc(m.marks[doc.Keyset], func(generation int, _ time.Time) bool {
		_, live := doc.Find(generation)
		return !live
	})
	return version + 1, fault.Err
}

// RaiseWatermark implements rotation.Store.
func (m *Memory) RaiseWatermark(ctx context.Context, keyset string, generation int, until time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var fault Fault
	if m.raising != nil {
		fault = m.raising(keyset, generation, until)
	}
	if fault.Err != nil && !fault.Persisted {
		return fault.Err
	}
	doc, err := m.get(keyset) // of one that is not there, an empty one
	if err != nil {
		return err
	}
	if _, live := doc.Find(generation); !live {
		return fmt.Errorf("keyset %q, generation %d: %w", keyset, generation, rotation.ErrNotLive)
	}
	if m.marks[keyset] == nil {
		m.marks[keyset] = map[int]time.Time{}
	}
	if until.After(m.marks[keyset][generation]) {
		m.marks[keyset][generation] = until.Round(0).UTC() // as it is read from a file
	}
	return fault.Err
}

// Watermarks implements rotation.Store.
func (m *Memory) Watermarks(ctx context.Context, keyset string) (map[int]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := maps.Clone(m.marks[keyset])
	if marks == nil {
		marks = map[int]time.Time{}
	}
	return marks, ctx.Err()
}

// History implements rotation.Store.
func (m *Memory) History(ctx context.Context, keyset string, limit int) ([]rotation.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := m.history[keyset]
	var events []rotation.Event
	for _, line := range lines[max(0, len(lines)-limit):] {
		e, err := decodeEvent(line)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
