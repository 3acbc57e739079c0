package store_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// withGenerations is a document of which these are live.
func withGenerations(keyset string, live ...int) rotation.Document {
	doc := rotation.Document{Format: rotation.Format, Keyset: keyset, Last: 100}
	for _, number := range live {
		doc.Generations = append(doc.Generations, rotation.Generation{
			Number: number, State: rotation.Retired, Keys: []rotation.Key{{Spec: "p-256", Token: "hsm", ID: []byte{1}, KID: "k"}},
		})
	}
	return doc
}

func marks(t *testing.T, s full, keyset string) map[int]time.Time {
	t.Helper()
	found, err := s.Watermarks(t.Context(), keyset)
	if err != nil || found == nil {
		t.Fatalf("watermarks of %s: %v, %v", keyset, found, err)
	}
	return found
}

func TestWatermarks(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	elsewhere := time.FixedZone("", 3600)
	each(t, func(t *testing.T, s full) {
		raise := func(generation int, until time.Time) error {
			return s.RaiseWatermark(t.Context(), "a", generation, until)
		}
		if err := raise(1, at); !errors.Is(err, rotation.ErrNotLive) {
			t.Errorf("of a keyset that is not there: %v", err)
		}
		version := save(t, s, withGenerations("a", 3, 4, 5), 0)
		save(t, s, withGenerations("b", 4), 0)
		for _, r := range []struct {
			generation int
			until      time.Time
			want       map[int]time.Time
		}{
			{4, at, map[int]time.Time{4: at}},
			{4, at.Add(-1), map[int]time.Time{4: at}}, // never lower
			{4, time.Time{}, map[int]time.Time{4: at}},
			{4, at.Add(1).In(elsewhere), map[int]time.Time{4: at.Add(1)}},
			{5, at, map[int]time.Time{4: at.Add(1), 5: at}},
		} {
			if err := raise(r.generation, r.until); err != nil {
				t.Fatal(err)
			}
			if got := marks(t, s, "a"); !maps.Equal(got, r.want) {
				t.Errorf("after generation %d was raised to %v: %v, want %v", r.generation, r.until, got, r.want)
			}
		}
		if err := raise(6, at); !errors.Is(err, rotation.ErrNotLive) {
			t.Errorf("of a generation that is not live: %v", err)
		}
		if got := marks(t, s, "b"); len(got) != 0 {
			t.Errorf("the other keyset has %v", got)
		}
		if doc, err := s.Get(t.Context(), "a"); err != nil || doc.Version != version {
			t.Errorf("a watermark changed the document's version: %+v, %v", doc, err)
		}
		// A Save that conflicts forgets nothing; one that takes effect forgets what left.
		if _, err := s.Save(t.Context(), withGenerations("a", 5), version+1); !errors.Is(err, rotation.ErrConflict) {
			t.Fatal(err)
		}
		if got := marks(t, s, "a"); len(got) != 2 {
			t.Errorf("after a conflict: %v", got)
		}
		version = save(t, s, withGenerations("a", 5), version)
		if got := marks(t, s, "a"); !maps.Equal(got, map[int]time.Time{5: at}) {
			t.Errorf("after generations 3 and 4 left: %v", got)
		}
		// What is forgotten does not come back with the number.
		version = save(t, s, withGenerations("a"), version)
		save(t, s, withGenerations("a", 4, 5), version)
		if got := marks(t, s, "a"); len(got) != 0 {
			t.Errorf("of generations that had left: %v", got)
		}
	})
}

// TestWatermarksHistory holds both stores against what a watermark is.
func TestWatermarksHistory(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		keysets := 0
		rapid.Check(t, func(r *rapid.T) {
			keysets++
			name := "keyset-" + strings.Repeat("x", keysets)
			want, live, version := map[int]time.Time{}, []int(nil), uint64(0)
			for range rapid.IntRange(1, 7).Draw(r, "changes") {
				if rapid.IntRange(0, 2).Draw(r, "what") == 0 {
					live = slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.IntRange(1, 4), 0, 4).Draw(r, "live"))))
					version = save(t, s, withGenerations(name, live...), version)
					maps.DeleteFunc(want, func(n int, _ time.Time) bool { return !slices.Contains(live, n) })
				} else {
					n := rapid.IntRange(1, 4).Draw(r, "generation")
					until := at.Add(time.Duration(rapid.IntRange(0, 9).Draw(r, "until")) * time.Second)
					err := s.RaiseWatermark(t.Context(), name, n, until)
					if isLive := slices.Contains(live, n); isLive != (err == nil) || !isLive && !errors.Is(err, rotation.ErrNotLive) {
						r.Fatalf("generation %d of %v: %v", n, live, err)
					} else if isLive && until.After(want[n]) {
						want[n] = until
					}
				}
				if got := marks(t, s, name); !maps.Equal(got, want) {
					r.Fatalf("watermarks %v, want %v", got, want)
				}
			}
		})
	})
}

func TestWatermarksAtOnce(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	each(t, func(t *testing.T, s full) {
		save(t, s, withGenerations("a", 1), 0)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if err := s.RaiseWatermark(context.Background(), "a", 1, at.Add(time.Duration(i*7%50))); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() { // spoils none of those that share its transaction
				if err := s.RaiseWatermark(context.Background(), "a", 2, at); !errors.Is(err, rotation.ErrNotLive) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := marks(t, s, "a"); !maps.Equal(got, map[int]time.Time{1: at.Add(49)}) {
			t.Errorf("%v", got)
		}
	})
}

func TestWatermarksStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := store.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	save(t, s, withGenerations("a", 1), 0)
	if err := s.RaiseWatermark(t.Context(), "a", 1, at); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = store.Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := marks(t, s, "a"); !got[1].Equal(at) {
		t.Errorf("opened again: %v, was %v", got, at)
	}
}

// TestCorruptWatermark: what cannot be read is told, and not written over.
func TestCorruptWatermark(t *testing.T) {
	for key, value := range map[string]string{"\x00\x00\x00\x00\x00\x00\x00\x06": "noon", "short": "2026-03-01T12:00:00Z"} {
		path := change(t, func(tx *bbolt.Tx) error {
			b, err := tx.Bucket([]byte("watermarks")).CreateBucket([]byte("a"))
			if err != nil {
				return err
			}
			return b.Put([]byte(key), []byte(value))
		})
		s, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Watermarks(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `bucket watermarks, keyset "a"`) {
			t.Errorf("%q: %v", value, err)
		}
		if err := s.RaiseWatermark(t.Context(), "a", 6, time.Now()); (err == nil) != (key == "short") {
			t.Errorf("%q: raised over it: %v", value, err)
		}
	}
}

func TestMemoryRaiseFaults(t *testing.T) {
	s, at, broken := store.NewMemory("i"), time.Now().Round(0).UTC(), errors.New("disk on fire")
	save(t, s, withGenerations("a", 1), 0)
	for _, persisted := range []bool{false, true} {
		s.InjectRaise(func(keyset string, generation int, until time.Time) store.Fault {
			if keyset != "a" || generation != 1 || !until.Equal(at) {
				t.Errorf("asked for %s, %d, %v", keyset, generation, until)
			}
			return store.Fault{Err: broken, Persisted: persisted}
		})
		if err := s.RaiseWatermark(t.Context(), "a", 1, at); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if got := marks(t, s, "a"); (len(got) == 1) != persisted {
			t.Errorf("persisted %v: %v", persisted, got)
		}
	}
	s.InjectRaise(nil)
	if err := s.RaiseWatermark(t.Context(), "a", 1, at.Add(1)); err != nil {
		t.Fatal(err)
	}
}
