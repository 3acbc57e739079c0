package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/jwa"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// RecoverOptions of Recover.
type RecoverOptions struct {
	// Installation whose store was lost. Empty: the only one of which there are keys.
	Installation string
	// Write makes the store. Without it nothing is changed.
	Write bool
	// Unproven has public keys published again also where no private half was seen to sign.
	Unproven bool
	// AcceptUnpublished has the next key of a keyset sign at once in which no key is surely known.
	AcceptUnpublished bool
	// Command is what to run to write, for the report.
	Command string
}

// Recover rebuilds a lost store from the labels on the tokens, and from the file of revocations.
// On the tokens it changes nothing: each key of the installation signs once, which proves that its
// public half is its own, and once more for a certificate. Without opts.Write it tells what would be.
func Recover(ctx context.Context, cfg *config.Config, opts RecoverOptions, log *slog.Logger, out io.Writer) (err error) {
	if _, err := enter(cfg); err != nil {
		return err
	}
	report := recovery{RecoverOptions: opts, path: cfg.Store.Path}
	switch _, err := os.Lstat(cfg.Store.Path); {
	case err == nil && opts.Write:
		return fmt.Errorf("the store %s exists, and recover makes one only where it was lost: if it is damaged, move it away first", cfg.Store.Path)
	case err == nil:
		report.exists = true
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking for the store: %w", err)
	}
	if opts.Write {
		if err := notRunning(cfg.Listen.Socket); err != nil {
			return err
		}
	}
	ts, err := startTokens(cfg, nil, nil, log, func() {})
	if err != nil {
		return err
	}
	defer closing(&err, "the tokens", func() error { return ts.close(context.WithoutCancel(ctx)) })
	if err := ts.prove(ctx); err != nil {
		return err
	}
	objects := map[string][]hsm.Object{}
	for _, name := range sortedKeys(ts) {
		if objects[name], err = ts[name].Objects(ctx, ""); err != nil {
			return err
		}
	}
	if report.Installation, err = whoseStore(objects, opts.Installation, cfg.Store.Path); err != nil {
		return err
	}
	request := rotation.RebuildRequest{
		Installation: report.Installation, Policies: policies(cfg), KeyID: jwks.KeyID, Unproven: opts.Unproven,
		AcceptUnpublished: opts.AcceptUnpublished, Now: time.Now().Round(0).UTC(),
	}
	if request.Revoked, report.revocations, err = revokedBefore(cfg.Store.Path, report.Installation); err != nil {
		return err
	}
	if request.Objects, err = ts.provenObjects(ctx, cfg, objects, report.Installation); err != nil {
		return err
	}
	report.Rebuilt = rotation.Rebuild(request)
	if opts.Write {
		if err := ts.certifyAgain(ctx, cfg, request, report.Keysets); err != nil {
			return err
		}
		if err := ts.write(ctx, cfg.Store.Path, report); err != nil {
			return err
		}
	}
	return report.print(out)
}

// revokedBefore reads which keys were revoked, and how many that are; -1 where nothing tells.
func revokedBefore(storePath, installation string) (revoked map[string][]rotation.Revocation, count int, err error) {
	all, err := store.FindRevocations(storePath, installation)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w; it alone tells now which keys were revoked, and a revoked key must not come back: put its backup back, or, if surely no key was revoked that is still on a token, remove that file", err)
	}
	revoked = map[string][]rotation.Revocation{}
	for _, r := range all {
		revoked[r.Keyset] = append(revoked[r.Keyset], r.Revocation)
	}
	return revoked, len(all), nil
}

// provenObjects has each private key of the installation show that it belongs to its public
// half. That a token is away, or busy, proves nothing of a key, and is an error.
func (ts tokens) provenObjects(ctx context.Context, cfg *config.Config, objects map[string][]hsm.Object, installation string) (map[string][]rotation.Found, error) {
	found := map[string][]rotation.Found{}
	for _, name := range sortedKeys(objects) {
		for _, o := range objects[name] {
			f := rotation.Found{Object: o}
			if o.Private && strings.HasPrefix(o.Label, rotation.LabelPrefix(installation)) {
				f.Doubt = provenObject(ctx, ts[name], o, objects[name], cfg.Tokens[name].AcceptKeys)
				if isOutage(f.Doubt) {
					return nil, fmt.Errorf("proving the keys on token %s: %w", name, f.Doubt)
				}
			}
			found[name] = append(found[name], f)
		}
	}
	return found, nil
}

func isOutage(err error) bool {
	for _, outage := range []error{hsm.ErrUnavailable, hsm.ErrOverloaded, hsm.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, outage) {
			return true
		}
	}
	return false
}

// provenObject has a key sign, by any algorithm that its token has for it. One that decrypts
// is believed if its attributes are right.
func provenObject(ctx context.Context, t *hsm.Token, o hsm.Object, all []hsm.Object, accept []string) error {
	if u := usage(o); u != hsm.Sign {
		_, err := hsm.Find(all, hsm.Ref{ID: o.ID, Label: o.Label}, u, accept)
		return err
	}
	label, err := rotation.ParseLabel(o.Label)
	if err != nil {
		return err
	}
	for _, alg := range jwa.ForSpec(label.Spec) {
		if err = proveOne(ctx, t, o, alg); !errors.Is(err, hsm.ErrUnsupported) {
			break
		}
	}
	return err
}

// certifyAgain gives the keys that have proven themselves new certificates, where the
// keyset's keys sign their own.
func (ts tokens) certifyAgain(ctx context.Context, cfg *config.Config, r rotation.RebuildRequest, keysets []rotation.RebuiltKeyset) error {
	certify := ts.certify(func() *config.Config { return cfg })
	proven := map[string]bool{}
	for name, objects := range r.Objects {
		for _, o := range objects {
			proven[name+"\x00"+string(o.ID)] = o.Private && o.Doubt == nil
		}
	}
	for _, k := range keysets {
		policy := r.Policies[k.Keyset]
		for _, g := range k.Generations {
			for i := range g.Keys {
				key := &g.Keys[i]
				if !k.Configured || key.Usage != hsm.Sign || !proven[key.Token+"\x00"+string(key.ID)] {
					continue
				}
				pub, err := x509.ParsePKIXPublicKey(key.Public)
				if err != nil {
					return fmt.Errorf("keyset %s: key %s: %w", k.Keyset, key.KID, err)
				}
				handle, err := ts[key.Token].Key(hsm.Ref{ID: key.ID, Label: key.Label}, pub)
				if err != nil {
					return fmt.Errorf("keyset %s: key %s: %w", k.Keyset, key.KID, err)
				}
				key.Chain, err = certify(ctx, rotation.CertRequest{
					Keyset: k.Keyset, Generation: g.Number, Spec: key.Spec, KID: key.KID, Public: pub,
					NotBefore: r.Now.Add(-policy.ClockSkew), NotAfter: r.Now.Add(policy.CertificateLifetime()),
					Signer: handle.Signer(ctx),
				})
				if err != nil {
					return fmt.Errorf("keyset %s: making a certificate of key %s: %w", k.Keyset, key.KID, err)
				}
			}
		}
	}
	return nil
}

// write makes the store, which is there whole or not at all.
func (ts tokens) write(ctx context.Context, path string, r recovery) error {
	db, err := store.CreateFor(path, r.Installation, func(s *store.Bolt) error {
		for _, k := range r.Keysets {
			if _, err := s.Save(ctx, k.Document, 0, k.Event); err != nil {
				return err
			}
		}
		for _, name := range sortedKeys(ts) {
			if err := s.RememberToken(name, ts[name].Status().Info.Serial); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.Close()
}
