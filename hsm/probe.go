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
	b := k.known(methodOf(mechanism, opts.HashFunc()).usage())
	return b != nil && b.unsupported[methodOf(mechanism, opts.HashFunc())].Load() != nil
}

// known is what the present epoch holds of the key, if it was examined in it.
func (k *Key) known(usage Usage) *belief {
	e := k.token.state.Load().epoch
	if e == nil || e.ctx.Err() != nil {
		return nil
	}
	if b := k.believed(e, usage); b != nil {
		return b
	}
	return e.beliefs.get(k.to(usage))
}

// Problem is why the key is refused in this epoch, in one line; "" where it is not, as far as is known.
func (k *Key) Problem() string {
	e := k.token.state.Load().epoch
	if e == nil {
		return ""
	}
	for _, u := range []Usage{Sign, Decrypt, Derive} {
		if why := e.beliefs.refusal(k.to(u)); why != "" {
			return why
		}
	}
	return ""
}

// Probe has the key sign something this way and verifies it, unless a signature of this
// epoch proved it already. The errors are those of Sign.
func (k *Key) Probe(ctx context.Context, opts crypto.SignerOpts) error {
	digest := blank(k.pub, opts)
	mechanism, _, err := prepare(k.pub, digest, opts)
	if err != nil {
		return k.wrap(wire.OpSign, err)
	}
	m := methodOf(mechanism, opts.HashFunc())
	if b := k.known(m.usage()); b != nil && b.proven[m].Load() {
		return nil
	}
	_, err = k.sign(ctx, digest, opts, true)
	return err
}

// wrapUnsupported is what a request gets that the token refused in this epoch before.
func (k *Key) wrapUnsupported(m method, refusal *wire.Error) error {
	return k.wrap(opOf(m), fmt.Errorf("%w, as it said before: %w", ErrUnsupported, refusal))
}
