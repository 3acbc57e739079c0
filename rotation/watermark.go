package rotation

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// watermarks of one keyset as the store has them, so that the signing path reads no store.
type watermarks struct {
	writing chan struct{} // one write at a time: those behind it most likely need none
	mu      sync.Mutex
	until   map[int]time.Time // by generation
}

func (w *watermarks) covers(generation int, t time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !t.After(w.until[generation])
}

func (w *watermarks) all() map[int]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.until)
}

// of returns that of a generation; zero if it has none.
func (w *watermarks) of(generation int) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.until[generation]
}

// set puts a watermark down, and forgets those of generations before the first that is live.
func (w *watermarks) set(first, generation int, t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.until == nil {
		w.until = map[int]time.Time{}
	}
	maps.DeleteFunc(w.until, func(n int, _ time.Time) bool { return n < first })
	w.until[generation] = latest(w.until[generation], t)
}

// aheadBy is how far ahead a watermark is written, so that one write does for all tokens of
// that long.
const aheadBy = time.Minute

// Outlive makes sure that a generation stays published until exp, which is more than the
// document guarantees, before a token with that exp is released. It writes the
// generation's watermark, at most once a minute, so far ahead that it covers every token of the
// next one. Its error means that the token must not be released; it is ErrNotLive once
// the generation signs no longer.
func (m *Manager) Outlive(ctx context.Context, name string, generation int, exp time.Time) error {
	shown := m.Snapshot().Keysets[name]
	if shown == nil || !shown.Configured {
		return ErrNotLive
	}
	// Who signs is for the signers to know, which see a swap a moment before the snapshot does. Whether
	// the generation is live the store decides.
	if g, ok := shown.Document.Find(generation); !ok || g.State == Retired {
		return ErrNotLive
	}
	k := m.named(name)
	if k == nil {
		return ErrNotLive
	}
	if k.marks.covers(generation, exp) {
		return nil
	}
	select {
	case k.marks.writing <- struct{}{}:
		defer func() { <-k.marks.writing }()
	case <-ctx.Done():
		return fmt.Errorf("waiting to write the watermark of generation %d of keyset %s: %w", generation, name, ctx.Err())
	}
	if k.marks.covers(generation, exp) {
		return nil
	}
	until := latest(exp, clock().Add(shown.Policy.MaxTokenLifetime)).Add(aheadBy)
	if err := m.cfg.Store.RaiseWatermark(ctx, name, generation, until); err != nil {
		return fmt.Errorf("writing the watermark of generation %d of keyset %s: %w", generation, name, err)
	}
	k.marks.set(shown.Document.Generations[0].Number, generation, until)
	return nil
}
