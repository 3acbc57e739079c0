package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/internal/config"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// fakeRevoker is a store's keys, and which of them were revoked.
type fakeRevoker struct {
	snapshot *rotation.Snapshot
	acts     []rotation.RevokeAct
	err      error
}

func (r *fakeRevoker) Snapshot() *rotation.Snapshot { return r.snapshot }

func (r *fakeRevoker) Revoke(_ context.Context, keyset string, act rotation.RevokeAct) (rotation.Revoked, error) {
	if keyset != "ks" {
		return rotation.Revoked{}, errors.New("another keyset")
	}
	r.acts = append(r.acts, act)
	return rotation.Revoked{}, r.err
}

// TestAnOlderStoreIsPutBack: what the file of revocations has and the store lets live is revoked
// again before anybody is served (invariant 6), and that stands in the audit log.
func TestAnOlderStoreIsPutBack(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	f := revocationFile{filepath.Join(t.TempDir(), "state.db"), strings.Repeat("ab", 16), quiet}
	trail, records := newTrail(t)
	defer trail.Close()
	live := rotation.Document{Generations: []rotation.Generation{{Keys: []rotation.Key{{KID: "alive"}, {KID: "dead"}}}}}
	m := &fakeRevoker{snapshot: snapshot(&rotation.Keyset{Name: "ks", Document: live})}
	again := func() error {
		t.Helper()
		known, err := f.read()
		if err != nil {
			t.Fatal(err)
		}
		return f.revokeAgain(t.Context(), known, m, trail)
	}
	if err := again(); err != nil || len(m.acts) != 0 {
		t.Fatalf("without a file: %v, %v", err, m.acts)
	}

	at := time.Now().UTC()
	if err := f.keep(map[string][]rotation.Revocation{
		"ks":   {{KID: "dead", At: at, By: "uid 7", Why: "leaked", Kept: true}, {KID: "buried", At: at, By: "uid 7", Why: "old"}},
		"gone": {{KID: "dead", At: at, By: "uid 7", Why: "old"}},
	}); err != nil {
		t.Fatal(err)
	}
	want := []rotation.RevokeAct{{Act: rotation.Act{By: "uid 7", Why: "leaked", KID: "dead"}, KeepObject: true}}
	if err := again(); err != nil || !slices.Equal(m.acts, want) {
		t.Errorf("revoked again: %+v, %v; want %+v", m.acts, err, want)
	}
	m.err = errors.New("the disk is full")
	if err := again(); !errors.Is(err, m.err) {
		t.Errorf("a key that cannot be revoked again lets the daemon go on: %v", err)
	}
	own(t, records(),
		"revoke ks dead granted : revoked again, as the store had forgotten it",
		"revoke ks dead failed internal: revoked again, as the store had forgotten it: the disk is full")
}

// TestUnreadableRevocations: nobody is served where it is not known what was revoked, and
// the file stays for whoever can read it.
func TestUnreadableRevocations(t *testing.T) {
	dir := t.TempDir()
	cfg := parse(t, signingKeyset)
	cfg.Store.Path, cfg.Audit.Path = filepath.Join(dir, "state.db"), filepath.Join(dir, "audit.jsonl")
	cfg.Listen = config.Listen{Socket: filepath.Join(dir, "socket")}
	db, err := store.Create(cfg.Store.Path)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	path := store.RevocationsPath(cfg.Store.Path)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = Run(ctx, cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	for _, want := range []string{path + ": unexpected EOF", "put its backup back", "if the store " + cfg.Store.Path + " is surely the newest there is, remove that file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the daemon starts, or says %v; want %q", err, want)
		}
	}
	files, err := os.ReadDir(dir)
	if b, _ := os.ReadFile(path); string(b) != "{" || err != nil || len(files) != 2 {
		t.Errorf("it was touched: %q, %v, %v", b, files, err)
	}
}

// TestRevocationsOfAnotherAreTold: a person has to know where they went.
func TestRevocationsOfAnotherAreTold(t *testing.T) {
	var logged bytes.Buffer
	path := filepath.Join(t.TempDir(), "state.db")
	log := slog.New(slog.NewTextHandler(&logged, nil))
	ours, theirs := revocationFile{path, strings.Repeat("ab", 16), log}, revocationFile{path, strings.Repeat("cd", 16), log}
	for _, f := range []revocationFile{theirs, theirs, ours} {
		if n := strings.Count(logged.String(), "WARN"); n != 0 {
			t.Fatalf("nothing was moved, and logged is %s", &logged)
		}
		if err := f.keep(nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := "kept=" + store.RevocationsPath(path) + "." + theirs.installation; !strings.Contains(logged.String(), want) {
		t.Errorf("logged is %s, want %s", &logged, want)
	}
}
