package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

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
	fault   func(rotation.Document) Fault
}

type encoded struct {
	version uint64
	doc     []byte
}

// Fault is how a Save fails. The zero value is a Save that does not.
type Fault struct {
	Err error
	// Persisted: the Save has its effect nevertheless.
	Persisted bool
}

// NewMemory returns an empty store.
func NewMemory(installation string) *Memory {
	return &Memory{
		installation: installation,
		docs:         map[string]encoded{}, history: map[string][][]byte{}, serials: map[string]string{},
	}
}

// Inject has fault asked before each Save from now on; nil for no more faults.
func (m *Memory) Inject(fault func(rotation.Document) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
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
	return version + 1, fault.Err
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
