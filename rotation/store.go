package rotation

import (
	"context"
	"errors"
)

// Store keeps documents and their history. An implementation is durable when a method
// returns nil; a method that returns an error may or may not have had its effect, and
// the caller finds out by loading again.
type Store interface {
	// Load returns every document.
	Load(ctx context.Context) ([]Versioned, error)
	// Get returns the document of one keyset; its Version is 0 where there is none.
	Get(ctx context.Context, keyset string) (Versioned, error)
	// Save replaces the document of doc.Keyset, if its version is still version (0: there
	// is none yet), and appends events, in one transaction. It returns the new version,
	// or ErrConflict.
	Save(ctx context.Context, doc Document, version uint64, events ...Event) (uint64, error)
	// History returns the newest limit events of a keyset, oldest first.
	History(ctx context.Context, keyset string, limit int) ([]Event, error)
}

// ErrConflict means that the document was changed since it was read.
var ErrConflict = errors.New("the keyset's document was changed meanwhile")
