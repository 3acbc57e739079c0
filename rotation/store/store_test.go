package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// full is what a store does for the daemon.
type full interface {
	rotation.Store
	Installation() string
	TokenSerial(name string) (string, error)
	RememberToken(name, serial string) error
	Close() error
}

func each(t *testing.T, f func(t *testing.T, s full)) {
	t.Run("bolt", func(t *testing.T) {
		s, err := store.Create(filepath.Join(t.TempDir(), "state.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		f(t, s)
	})
	t.Run("memory", func(t *testing.T) { f(t, store.NewMemory("0123456789abcdef0123456789abcdef")) })
}

// document with every field set.
func document(keyset string) rotation.Document {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	return rotation.Document{
		Format: rotation.Format, Keyset: keyset, Last: 7,
		Generations: []rotation.Generation{{
			Number: 6, State: rotation.Active, Static: true, Lifetime: 9, Revoked: []string{"r"}, Scheduled: at.Add(-1), Made: at, Published: at.Add(1), UsableFrom: at.Add(2), Activated: at.Add(3), Retired: at.Add(4), RetainUntil: at.Add(5),
			Keys: []rotation.Key{{Spec: keyspec.P256, Token: "hsm", ID: []byte{1, 2}, Label: "l", KID: "k", Usage: wire.Decrypt, Public: []byte{3}, Chain: [][]byte{{4}, {5}}, Lost: at.Add(8)}},
		}},
		Intents: []rotation.Intent{{Kind: rotation.Destroy, Generation: 5, At: at.Add(6), Revoked: true, Objects: []rotation.Attempt{
			{Token: "hsm", Spec: keyspec.P256, ID: []byte{6}, Label: "m", KID: "n"},
		}}},
		Abandoned: []rotation.Abandoned{{
			Attempt:    rotation.Attempt{Token: "hsm", Spec: keyspec.P256, ID: []byte{7}, Label: "o"},
			Generation: 4, Begun: at.Add(9), Since: at.Add(10), Looked: at.Add(11), Clean: 1,
		}},
		StaleUntil:  at.Add(7),
		Served:      rotation.Freshness{MaxAge: 1, ClockSkew: 2, VerifierCache: 3},
		Entries:     []rotation.Entry{{Algorithm: jose.RS384, State: rotation.Retired, Published: at.Add(12), UsableFrom: at.Add(13), Retired: at.Add(14), RetainUntil: at.Add(15)}},
		Revoked:     []rotation.Revocation{revocation("r", at.Add(16)).Revocation},
		FrozenUntil: at.Add(17), AcceptUnpublished: true, Allowance: at.Add(18), Removed: at.Add(19),
		Farewell: &rotation.Farewell{Retain: 4, UntilRevoked: true, Served: rotation.Freshness{MaxAge: 5}},
	}
}

func save(t *testing.T, s full, doc rotation.Document, version uint64, events ...rotation.Event) uint64 {
	t.Helper()
	version, err := s.Save(t.Context(), doc, version, events...)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestDocumentsComeBack(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		if doc, err := s.Get(t.Context(), "a"); err != nil || !reflect.DeepEqual(doc, rotation.Versioned{}) {
			t.Errorf("a document that was never saved: %+v, %v", doc, err)
		}
		if docs, err := s.Load(t.Context()); err != nil || len(docs) != 0 {
			t.Errorf("a new store has %+v, %v", docs, err)
		}
		b := save(t, s, document("b"), 0)
		a := save(t, s, document("a"), 0)
		want := []rotation.Versioned{{Document: document("a"), Version: a}, {Document: document("b"), Version: b}}
		if docs, err := s.Load(t.Context()); err != nil || !reflect.DeepEqual(docs, want) {
			t.Errorf("loaded %+v, %v\nwant %+v", docs, err, want)
		}
		if doc, err := s.Get(t.Context(), "b"); err != nil || !reflect.DeepEqual(doc, want[1]) {
			t.Errorf("got %+v, %v", doc, err)
		}
	})
}

func TestSaveNeedsTheVersion(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		changed := document("a")
		changed.Last = 8
		event := rotation.Event{What: "made", Generation: 8}
		if _, err := s.Save(t.Context(), changed, 1, event); !errors.Is(err, rotation.ErrConflict) {
			t.Errorf("version 1 of nothing: %v", err)
		}
		first := save(t, s, document("a"), 0)
		if _, err := s.Save(t.Context(), changed, 0, event); !errors.Is(err, rotation.ErrConflict) {
			t.Errorf("version 0 of a document that is there: %v", err)
		}
		second := save(t, s, document("a"), first)
		if second == first {
			t.Errorf("two saves, one version %d", first)
		}
		if _, err := s.Save(t.Context(), changed, first, event); !errors.Is(err, rotation.ErrConflict) {
			t.Errorf("the version before: %v", err)
		}
		if doc, err := s.Get(t.Context(), "a"); err != nil || doc.Last != 7 || doc.Version != second {
			t.Errorf("after conflicts: %+v, %v", doc, err)
		}
		if events, err := s.History(t.Context(), "a", 10); err != nil || len(events) != 0 {
			t.Errorf("conflicts left the events %+v, %v", events, err)
		}
	})
}

func TestSaveRefusesWhatItCouldNotRead(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		doc := document("a")
		doc.Last = 1
		if _, err := s.Save(t.Context(), doc, 0); err == nil {
			t.Error("a document was saved in which a generation has a number never given")
		}
	})
}

func TestHistory(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		var version uint64
		var want []rotation.Event
		for i := range 300 {
			e := rotation.Event{At: time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC), What: "made", Generation: i, KIDs: []string{"k"}, By: "schedule", Why: "w"}
			version = save(t, s, document("a"), version, e, e)
			want = append(want, e, e)
		}
		save(t, s, document("b"), 0, rotation.Event{What: "other"})
		for _, limit := range []int{0, 1, 3, 600, 1000} {
			got, err := s.History(t.Context(), "a", limit)
			if w := want[max(0, len(want)-limit):]; err != nil || len(got) != len(w) || len(w) > 0 && !reflect.DeepEqual(got, w) {
				t.Errorf("limit %d: %d events, %v", limit, len(got), err)
			}
		}
		if got, err := s.History(t.Context(), "unknown", 5); err != nil || len(got) != 0 {
			t.Errorf("of an unknown keyset: %+v, %v", got, err)
		}
	})
}

func TestSavesAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				name, version := fmt.Sprintf("keyset-%d", i), uint64(0)
				for range 5 {
					var err error
					if version, err = s.Save(context.Background(), document(name), version, rotation.Event{What: "made"}); err != nil {
						t.Error(err)
					}
					// One that conflicts spoils none of those that share its transaction.
					if _, err := s.Save(context.Background(), document(name), version+1); !errors.Is(err, rotation.ErrConflict) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		docs, err := s.Load(t.Context())
		if err != nil || len(docs) != 8 {
			t.Errorf("%d documents, %v", len(docs), err)
		}
		for _, doc := range docs {
			events, err := s.History(t.Context(), doc.Keyset, 10)
			if err != nil || len(events) != 5 {
				t.Errorf("%s: %d events, %v", doc.Keyset, len(events), err)
			}
		}
	})
}

func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		for _, serial := range []string{"", "abc", "def"} {
			if serial != "" {
				if err := s.RememberToken("hsm", serial); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := s.TokenSerial("hsm"); err != nil || got != serial {
				t.Errorf("remembered %q, got %q, %v", serial, got, err)
			}
		}
		if got, err := s.TokenSerial("other"); err != nil || got != "" {
			t.Errorf("another token: %q, %v", got, err)
		}
		if got := s.Installation(); len(got) != 32 {
			t.Errorf("installation id %q", got)
		}
	})
}

func TestEndedContext(t *testing.T) {
	each(t, func(t *testing.T, s full) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, load := s.Load(ctx)
		_, get := s.Get(ctx, "a")
		_, saved := s.Save(ctx, document("a"), 0)
		_, history := s.History(ctx, "a", 1)
		_, marks := s.Watermarks(ctx, "a")
		raised := s.RaiseWatermark(ctx, "a", 6, time.Now())
		for name, err := range map[string]error{"Load": load, "Get": get, "Save": saved, "History": history, "Watermarks": marks, "RaiseWatermark": raised} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestMemoryFaults(t *testing.T) {
	s := store.NewMemory("i")
	broken := errors.New("disk on fire")
	for _, persisted := range []bool{false, true} {
		s.Inject(func(rotation.Document) store.Fault { return store.Fault{Err: broken, Persisted: persisted} })
		if _, err := s.Save(t.Context(), document("a"), 0, rotation.Event{What: "made"}); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		doc, _ := s.Get(t.Context(), "a")
		events, _ := s.History(t.Context(), "a", 5)
		if (doc.Version == 1) != persisted || (len(events) == 1) != persisted {
			t.Errorf("persisted %v: %+v, %+v", persisted, doc, events)
		}
	}
	s.Inject(nil)
	save(t, s, document("a"), 1)
}
