package hsm

import (
	"context"
	"crypto"
	"fmt"

	"keysetd.example/hsm/wire"
)

// Unsupported tells whether the present epoch knows that the token does not sign this way with
// this key, so that it need not be offered. What was not
// tried yet is not known to be unsupported, nor is anything while the token is down. Config.OnChange is
// called when it becomes known.
func (k *Key) Unsupported(opts crypto.SignerOpts) bool {
	mechanism, _, err := prepare(k.pub, blank(k.pub, opts), opts)
	if err != nil {
		return true
	}
	e := k.token.state.Load().epoch
	if e == nil {
		return false
	}
	b := k.believed(e)
	if b == nil {
		b = e.beliefs.get(k.identity)
	}
	return b != nil && b.unsupported[methodOf(mechanism, opts.HashFunc())].Load() != nil
}

// Problem is why the key is refused in this epoch, in one line; "" where it is not, as far as is known.
func (k *Key) Problem() string {
	e := k.token.state.Load().epoch
	if e == nil {
		return ""
	}
	return e.beliefs.refusal(k.identity)
}

// Probe has the key sign something this way and verifies it, unless a signature of this
// epoch proved it already. The errors are those of Sign.
func (k *Key) Probe(ctx context.Context, opts crypto.SignerOpts) error {
	digest := blank(k.pub, opts)
	mechanism, _, err := prepare(k.pub, digest, opts)
	if err != nil {
		return k.wrap(err)
	}
	if e := k.token.state.Load().epoch; e != nil && e.ctx.Err() == nil {
		if b := e.beliefs.get(k.identity); b != nil && b.proven[methodOf(mechanism, opts.HashFunc())].Load() {
			return nil
		}
	}
	_, err = k.sign(ctx, digest, opts, true)
	return err
}

// wrapUnsupported is what a request gets that the token refused in this epoch before.
func (k *Key) wrapUnsupported(refusal *wire.Error) error {
	return k.wrap(fmt.Errorf("%w, as it said before: %w", ErrUnsupported, refusal))
}
