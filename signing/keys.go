package signing

import (
	"context"
	"fmt"
	"strings"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

// KeyRecord is what is known of one key of a keyset, whether it is in use or not.
type KeyRecord struct {
	KID        string
	Spec       keyspec.Spec
	Generation int
	// State is that of the generation. It does not count where RevokedAt is set.
	State rotation.State
	// CurrentSince is since when it is in use, or was, CurrentUntil when it ceased to be; zero where
	// that did not happen or nobody knows it any more.
	CurrentSince, CurrentUntil time.Time
	// Chain of its certificate, in DER, its own first, as it may be published now. Empty: it has none.
	Chain [][]byte
	// RevokedAt is when it was revoked. Zero: it was not.
	RevokedAt time.Time
}

// stateRevoked is what the list says of a key that was revoked, beside the states of package rotation.
const stateRevoked = "revoked"

// Keys returns the keys of a keyset with their certificates, and those that were revoked, as
// operation read.
func (s *Service) Keys(ctx context.Context, caller policy.Caller, keyset string) (_ *v1.KeyList, err error) {
	a := s.begin(caller, policy.Read, keyset).note(true, "keys")
	defer s.finish(ctx, a, &err)
	reply, err := a.keys()
	if err = s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return reply, nil
}

func (a *act) keys() (*v1.KeyList, error) {
	if err := a.authorise(""); err != nil {
		return nil, err
	}
	ks := a.term.state.keysets[a.keyset]
	if ks == nil {
		return nil, unknownKeyset(a.keyset)
	}
	list := &v1.KeyList{Keys: []v1.ListedKey{}}
	if ks.records == nil {
		return list, nil
	}
	for _, r := range ks.records() {
		k, err := r.listed()
		if err != nil {
			return nil, internal(fmt.Errorf("listing key %s of keyset %s: %w", r.KID, a.keyset, err))
		}
		list.Keys = append(list.Keys, k)
	}
	return list, nil
}

// listed writes a record as callers see it.
func (r KeyRecord) listed() (v1.ListedKey, error) {
	k := v1.ListedKey{
		KID: r.KID, Spec: string(r.Spec), Generation: r.Generation, State: string(r.State),
		CurrentSince: r.CurrentSince, CurrentUntil: r.CurrentUntil,
	}
	if !r.RevokedAt.IsZero() {
		k.State, k.Revoked, k.RevokedAt = stateRevoked, true, r.RevokedAt
		return k, nil
	}
	k.Current, k.Next, k.Previous = r.State == rotation.Active, r.State == rotation.Pending, r.State == rotation.Retired
	if len(r.Chain) == 0 {
		return k, nil
	}
	bundle, err := jwks.PKCS7(r.Chain)
	if err != nil {
		return v1.ListedKey{}, err
	}
	k.Cert, k.PKCS7 = string(x5c.EncodePEM(r.Chain[:1])), string(bundle)
	k.Fingerprint = jwks.Fingerprint(r.Chain[0])
	k.Thumbprint = strings.ReplaceAll(k.Fingerprint, ":", "")
	return k, nil
}
