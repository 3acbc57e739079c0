package daemon

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"keysetd.example/internal/config"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// notShown is why a configuration does not come into force: a keyset that is shown well would
// be no longer.
type notShown struct {
	keyset string
	err    error
}

func (e *notShown) Error() string {
	return fmt.Sprintf("keyset %s could not be shown: %v", e.keyset, e.err)
}
func (e *notShown) Unwrap() error { return e.err }

// whole makes a keyset what both sides see, or tells why it cannot stand beside others.
func (p *publisher) whole(k *rotation.Keyset, cfg *config.Config, rights *policy.Policy, now time.Time) (shown, error) {
	m, err := p.present(k, cfg, now)
	if err != nil {
		return shown{}, err
	}
	m = m.asTokensAre()
	if m.pages.JWKS != nil {
		if _, err := jwks.NewSet([]jwks.Keyset{m.pages}); err != nil {
			return shown{}, err
		}
	}
	if _, err := signing.NewState(rights, []signing.Keyset{m.signing}, p.metrics); err != nil {
		return shown{}, err
	}
	return m, nil
}

// fallBack makes of a keyset that cannot be shown as it should be what can: it never signs, and
// what it has signed is still to be verified, so its page stays if it can be made without
// certificates. Otherwise it has none. No other keyset is kept from anything by it.
func fallBack(k *rotation.Keyset, ks config.Keyset, why error, now time.Time) shown {
	out := silent(k, ks, now)
	out.fellBack = fmt.Sprintf("the keyset cannot be shown as it is, so it does not sign, and its page is without certificates: %v", why)
	var err error
	if out.pages, err = plainPage(k, ks); err != nil {
		out.pages, out.fellBack = jwks.Keyset{}, fmt.Sprintf("the keyset cannot be shown, so it does not sign and has no page: %v", why)
		if err.Error() != why.Error() {
			out.fellBack += fmt.Sprintf("; without certificates: %v", err)
		}
	}
	return out.asTokensAre()
}

// plainPage is a page of keys alone. A key that was revoked is on none, whatever else the
// document says (invariant 6).
func plainPage(k *rotation.Keyset, ks config.Keyset) (jwks.Keyset, error) {
	keys, err := published(k)
	if err != nil {
		return jwks.Keyset{}, err
	}
	revoked := revokedKIDs(k.Document)
	keys = slices.DeleteFunc(keys, func(key jwks.Key) bool { return slices.Contains(revoked, key.KID) })
	for i := range keys {
		keys[i].Chain = nil
	}
	made, _, err := pagesOf(keys, max(k.MaxAge(), time.Second), k, ks)
	if err != nil || made.JWKS == nil {
		return jwks.Keyset{}, err
	}
	_, err = jwks.NewSet([]jwks.Keyset{made})
	return made, err
}

// tellFallen logs which keysets fell back, and which are shown as they should be again: once
// for each change.
func tellFallen(log *slog.Logger, before, now map[string]string) {
	for _, name := range sortedKeys(now) {
		if before[name] != now[name] {
			log.Error("a keyset cannot be shown as it should be; the others are", "keyset", name, "problem", now[name])
		}
	}
	for _, name := range sortedKeys(before) {
		if now[name] == "" {
			log.Info("the keyset is shown as it should be again, or is gone", "keyset", name)
		}
	}
}
