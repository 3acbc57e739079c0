package hsm

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// Generate makes a key pair, checks what the token says of it (CheckAttributes), and has a
// key for signing sign once. A key that fails any of this is destroyed again, if that can be.
//
// The caller has recorded r.ID and r.Label before. An attempt that an epoch's end or ctx
// cuts off is not repeated and may leave a key behind, even later; Objects shows it, and Destroy removes it.
func (t *Token) Generate(ctx context.Context, r GenerateRequest) (Object, error) {
	wrap := func(err error) error {
		return fmt.Errorf("token %s: make key %s (%s): %w", t.cfg.Name, refName(Ref{ID: r.ID, Label: r.Label}), r.Spec, err)
	}
	observer, known := t.metrics.generate[r.Spec]
	switch {
	case !known:
		return Object{}, wrap(fmt.Errorf("%w: unknown key spec", ErrUnsupported))
	case len(r.ID) == 0 || r.Label == "":
		return Object{}, wrap(errors.New("a new key needs a CKA_ID and a label"))
	}
	select {
	case t.generating <- struct{}{}:
	case <-ctx.Done():
		return Object{}, wrap(t.unavailable(ctx))
	}
	e, err := t.await(ctx)
	if err != nil {
		<-t.generating
		return Object{}, wrap(err)
	}
	if err := e.takeTurn(ctx); err != nil {
		<-t.generating
		return Object{}, wrap(sentinel(wire.OpGenerate, err))
	}
	o, err := call(ctx, e, wire.OpGenerate, observer,
		func(wire.Timing) {
			e.inventory.changed()
			<-e.turn
			<-t.generating
		},
		func(ctx context.Context) (Object, wire.Timing, error) { return e.client.Generate(ctx, r) })
	if err != nil {
		return Object{}, wrap(sentinel(wire.OpGenerate, err))
	}
	if err := t.inspect(ctx, e, r, o); err != nil {
		return Object{}, wrap(errors.Join(err, t.discard(ctx, Ref{ID: r.ID, Label: r.Label})))
	}
	return o, nil
}

// inspect tells whether o, which e made, is the key that was asked for, and works.
func (t *Token) inspect(ctx context.Context, e *epoch, r GenerateRequest, o Object) error {
	if string(o.ID) != string(r.ID) || o.Label != r.Label {
		return fmt.Errorf("%w: the token shows it as key %s with CKA_ID %x", ErrTemplate, name(o), o.ID)
	}
	if o.Duplicates > 0 {
		return fmt.Errorf("%w: %d more objects have its CKA_ID", ErrTemplate, o.Duplicates)
	}
	if err := CheckAttributes(o, r.Usage); err != nil {
		return err
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return fmt.Errorf("read its public half: %w", err)
	}
	spec, err := keyspec.Of(pub)
	if err != nil || spec != r.Spec {
		return errors.Join(fmt.Errorf("the token made a key of another kind: %q", spec), err)
	}
	k, err := t.Key(Ref{ID: r.ID, Label: r.Label}, pub)
	if err != nil {
		return err
	}
	e.beliefs.add(k.to(r.Usage)) // what an inventory would tell was just looked at
	if r.Usage != Sign {
		return nil
	}
	opts := crypto.SHA256
	if _, ok := pub.(ed25519.PublicKey); ok {
		opts = 0
	}
	return k.Probe(ctx, opts)
}

// discardLimit bounds how long a key that failed its inspection is tried to be destroyed.
const discardLimit = 10 * time.Second

func (t *Token) discard(ctx context.Context, ref Ref) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardLimit)
	defer cancel()
	if _, err := t.Destroy(ctx, ref); err != nil {
		return fmt.Errorf("it is left on the token: %w", err)
	}
	return nil
}

// Destroy removes all that ref names (private key, public key, certificates), and tells how many
// objects there were. ref has a CKA_ID; a label alone could mean somebody else's. None is no error. It is not repeated when the epoch ends meanwhile; the caller may.
func (t *Token) Destroy(ctx context.Context, ref Ref) (int, error) {
	wrap := func(err error) error {
		return fmt.Errorf("token %s: destroy key %s: %w", t.cfg.Name, refName(ref), err)
	}
	if len(ref.ID) == 0 {
		return 0, wrap(errors.New("no CKA_ID is given"))
	}
	e, err := t.await(ctx)
	if err != nil {
		return 0, wrap(err)
	}
	if err := e.takeTurn(ctx); err != nil {
		return 0, wrap(sentinel(wire.OpDestroy, err))
	}
	reply, err := call(ctx, e, wire.OpDestroy, t.metrics.other[wire.OpDestroy],
		func(wire.Timing) {
			e.inventory.changed()
			e.beliefs.forget(ref)
			t.suspects.forget(ref)
			<-e.turn
		},
		func(ctx context.Context) (wire.DestroyReply, wire.Timing, error) { return e.client.Destroy(ctx, ref) })
	if err != nil {
		return 0, wrap(sentinel(wire.OpDestroy, err))
	}
	return reply.Objects, nil
}
