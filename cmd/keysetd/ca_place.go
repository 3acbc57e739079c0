package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"keysetd.example/hsm/ceremony"
	"keysetd.example/internal/config"
	"keysetd.example/internal/daemon"
)

// placeOf begins as every command does that may log in: the process is hardened and the store's directory, where
// the PIN's marker lies, is its own. The token is the one that is named, that of the record, or the only one.
func placeOf(cfg *config.Config, token, recorded string) (ceremony.Place, error) {
	names := slices.Sorted(maps.Keys(cfg.Tokens))
	switch {
	case token == "" && recorded != "":
		token = recorded
	case token == "" && len(names) == 1:
		token = names[0]
	case token == "":
		return ceremony.Place{}, usageError{fmt.Errorf("--token is missing; the tokens are %v", names)}
	}
	if _, ok := cfg.Tokens[token]; !ok {
		return ceremony.Place{}, usageError{fmt.Errorf("token %q is not configured; the tokens are %v (--token)", token, names)}
	}
	used, err := daemon.TokenFor(cfg, token)
	return ceremony.Place{Token: used, Now: time.Now()}, err
}

// notOfKeyset refuses a label by which a static keyset or another authority names a key.
func notOfKeyset(cfg *config.Config, label string) error {
	for _, name := range slices.Sorted(maps.Keys(cfg.CertificateAuthorities)) {
		if cfg.CertificateAuthorities[name].Label == label {
			return errors.New("certificate authority " + name + " has a key with the label " + label + "; give this one another")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Keysets)) {
		for _, k := range cfg.Keysets[name].Static {
			for _, ref := range []*config.StaticRef{k.Active, k.Previous} {
				if ref != nil && ref.Label == label {
					return errors.New("keyset " + name + " has a key with the label " + label + "; give the CA another one")
				}
			}
		}
	}
	return nil
}
