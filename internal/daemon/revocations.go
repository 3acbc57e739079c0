package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"keysetd.example/internal/audit"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
	"keysetd.example/signing/policy"
)

// revocationFile keeps revocations a second time, so that a revoked key stays dead also
// where the store is lost, or an older one put back (invariant 6).
type revocationFile struct {
	store        string // path of the store that it lies beside
	installation string
	log          *slog.Logger
}

// read returns the revocations of the installation, none where there is no file of them. It has to
// come before the manager's Start, which writes the file. Where it cannot tell what was revoked
// nobody may be served.
func (f revocationFile) read() ([]store.KeysetRevocation, error) {
	known, err := store.FindRevocations(f.store, f.installation)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; it tells which keys were revoked, also where the store is an old one, so nothing is served without it: put its backup back, or, if the store %s is surely the newest there is, remove that file, and it is written again from the store", err, f.store)
	}
	return known, nil
}

// keep is the manager's KeepRevocations.
func (f revocationFile) keep(all map[string][]rotation.Revocation) error {
	var list []store.KeysetRevocation
	for _, keyset := range sortedKeys(all) {
		for _, r := range all[keyset] {
			list = append(list, store.KeysetRevocation{Keyset: keyset, Revocation: r})
		}
	}
	path := store.RevocationsPath(f.store)
	kept, err := store.WriteRevocations(path, f.installation, list)
	if kept != "" {
		f.log.Warn("the file of revocations was another installation's; it is moved aside", "file", path, "kept", kept)
	}
	return err
}

// revoker is what revokeAgain needs of *rotation.Manager.
type revoker interface {
	Snapshot() *rotation.Snapshot
	Revoke(ctx context.Context, keyset string, act rotation.RevokeAct) (rotation.Revoked, error)
}

// revokeAgain revokes the keys that the file had and the store lets live: then the store is
// older than the file. It comes before anybody can ask for a signature.
func (f revocationFile) revokeAgain(ctx context.Context, known []store.KeysetRevocation, m revoker, trail *audit.Log) error {
	for _, r := range known {
		k := m.Snapshot().Keysets[r.Keyset]
		if k == nil || !lives(k.Document, r.KID) {
			continue
		}
		f.log.Error("ALARM: the store lets a key live that was revoked, so it is older than the file of revocations; the key is revoked again",
			"keyset", r.Keyset, "kid", r.KID, "revoked", r.At)
		act := rotation.RevokeAct{Act: rotation.Act{By: r.By, Why: r.Why, KID: r.KID}, KeepObject: r.Kept}
		_, err := m.Revoke(ctx, r.Keyset, act)
		record := audit.Record{Operation: string(policy.Revoke), Keyset: r.Keyset, KID: r.KID, Detail: "revoked again, as the store had forgotten it"}
		writeDown(ctx, trail, f.log, record, err)
		if err != nil {
			return fmt.Errorf("revoking key %s of keyset %s again, which the store has forgotten: %w", r.KID, r.Keyset, err)
		}
	}
	return nil
}

// lives reports whether a live generation has a key with this kid.
func lives(d rotation.Document, kid string) bool {
	for _, g := range d.Generations {
		for _, k := range g.Keys {
			if k.KID == kid {
				return true
			}
		}
	}
	return false
}
