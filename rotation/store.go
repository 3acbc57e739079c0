package rotation

import (
	"context"
	"errors"
	"time"
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
	// RaiseWatermark puts down that a token signed by this generation may be valid until then.
	// It never lowers it. If the generation is not live in the document it changes nothing and
	// returns ErrNotLive. A Save in which a generation is no longer live forgets its watermark.
	RaiseWatermark(ctx context.Context, keyset string, generation int, until time.Time) error
	// Watermarks returns those of a keyset's live generations; one that has none is not in it.
	Watermarks(ctx context.Context, keyset string) (map[int]time.Time, error)
}

// ErrStore means that a change could not be written, and was not made.
var ErrStore = errors.New("writing to the store")

// ErrNotLive means that a generation has left the document.
var ErrNotLive = errors.New("the generation is no longer live")

// ErrConflict means that the document was changed since it was read.
var ErrConflict = errors.New("the keyset's document was changed meanwhile")
