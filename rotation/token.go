package rotation

import (
	"context"
	"crypto"
	"time"

	"keysetd.example/hsm"
)

// Token is what the Manager needs of a token.
type Token interface {
	// Generate makes one key pair, checks its attributes and signs and verifies with it
	// once. When it fails, the pair may or may not be on the token.
	Generate(ctx context.Context, req hsm.GenerateRequest) (hsm.Object, error)
	// Destroy destroys every object that ref names, and returns how many there were. That
	// there are none is no error, or hsm.ErrKeyNotFound; either counts as gone, since
	// either comes from a session proven logged in.
	Destroy(ctx context.Context, ref hsm.Ref) (int, error)
	// Signer signs with the key that ref names, whose public half is pub.
	Signer(ctx context.Context, ref hsm.Ref, pub crypto.PublicKey) (crypto.Signer, error)
	// Objects returns the keys whose labels begin with prefix, as a session proven logged in
	// found them: what is not among them was not on the token. It may be the same list for
	// the whole of an epoch, except for what Generate and Destroy changed.
	Objects(ctx context.Context, prefix string) ([]hsm.Object, error)
	// Refresh has the next Objects list the token anew, unless it was listed a moment ago.
	Refresh()
	// Epoch tells when the epoch that is up began, no two at the same instant; false while
	// the token cannot be used.
	Epoch() (began time.Time, up bool)
}

// OnHSM returns t as the Manager needs it.
func OnHSM(t *hsm.Token) Token { return hsmToken{t} }

type hsmToken struct{ *hsm.Token }

func (t hsmToken) Epoch() (time.Time, bool) {
	s := t.Status()
	return s.Since.Round(0).UTC(), s.Up // the wall clock alone, as documents have it
}

func (t hsmToken) Signer(ctx context.Context, ref hsm.Ref, pub crypto.PublicKey) (crypto.Signer, error) {
	key, err := t.Key(ref, pub)
	if err != nil {
		return nil, err
	}
	return key.Signer(ctx), nil
}
