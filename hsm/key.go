package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"sync/atomic"
	"time"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// Key is a private key on a token, whatever epoch that is in.
type Key struct {
	token *Token
	ref   Ref
	pub   crypto.PublicKey
	spec  int // its index in keyspec.All

	identity identity               // without its usage; see to
	belief   atomic.Pointer[belief] // of the epoch that used it last, if any
}

// Key returns the key that ref names, whose public half is pub. The token is not asked: a key
// that is not there shows itself when it signs. A public key that is none of the key
// specs is an error.
func (t *Token) Key(ref Ref, pub crypto.PublicKey) (*Key, error) {
	if len(ref.ID) == 0 && ref.Label == "" {
		return nil, t.wrap(errors.New("a key needs a CKA_ID or a label"))
	}
	if max(len(ref.ID), len(ref.Label)) > math.MaxUint16 {
		return nil, t.wrap(fmt.Errorf("a key's CKA_ID and label are at most %d bytes long", math.MaxUint16))
	}
	spec, err := keyspec.Of(pub)
	if err != nil {
		return nil, t.wrap(fmt.Errorf("key %s: %w: %w", refName(ref), ErrUnsupported, err))
	}
	public, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, t.wrap(fmt.Errorf("key %s: %w", refName(ref), err))
	}
	return &Key{
		token: t, ref: Ref{ID: slices.Clone(ref.ID), Label: ref.Label}, pub: pub, spec: slices.Index(keyspec.All(), spec),
		identity: identity{id: string(ref.ID), label: ref.Label, public: string(public)},
	}, nil
}

// Public returns the public half.
func (k *Key) Public() crypto.PublicKey { return k.pub }

// Sign signs a digest of the hash that opts names: SHA-256, SHA-384 or SHA-512. RSA signs
// by PKCS #1 v1.5, or by PSS where opts is an *rsa.PSSOptions with a salt of the hash's length;
// ECDSA returns r‖s (IEEE P1363); Ed25519 signs the message itself, with crypto.Hash(0).
//
// When an epoch first uses the key it is looked up in the inventory and examined, and the first
// signature in each way is verified whatever Config.Verify says. If the epoch ends meanwhile
// the signature is asked for again in the next one, in three at most: that is safe,
// since at most one is released. Whom it is for (WithShare) decides when it has its turn.
//
// Errors wrap ErrBadDigest, ErrUnsupported, ErrOverloaded, ErrUnavailable, ErrKeyNotFound, ErrBadSignature,
// ErrTemplate, ErrWrongKey or ErrClosed.
func (k *Key) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.sign(ctx, digest, opts, k.token.cfg.Verify.wants(k.pub))
}

func (k *Key) sign(ctx context.Context, digest []byte, opts crypto.SignerOpts, verify bool) ([]byte, error) {
	mechanism, data, err := prepare(k.pub, digest, opts)
	if err != nil {
		return nil, k.wrap(wire.OpSign, err)
	}
	r := wire.SignRequest{Key: k.ref, Mechanism: mechanism, Data: data}
	m := methodOf(mechanism, opts.HashFunc())
	for attempt := 1; ; attempt++ {
		e, b, waited, err := k.acquire(ctx, m, attempt > 1)
		if err != nil {
			return nil, err
		}
		probe := !b.proven[m].Load()
		failed := func(error) {}
		if probe {
			failed = func(err error) { e.blame(k.way(m), err) }
		}
		sig, err := e.sign(ctx, r, e.finished(k.kind(m), waited), failed)
		switch {
		case err == nil && (!verify && !probe || verifies(k.pub, digest, sig, opts)) && wellFormed(k.pub, sig):
			if probe {
				b.proven[m].Store(true)
				k.token.suspects.worked(k.way(m))
			}
			return sig, nil
		case err == nil:
			return nil, k.alarm(e, mechanism)
		case !again(ctx, attempt, wire.OpSign, err):
			k.learn(e, b, m, err)
			return nil, k.wrap(wire.OpSign, sentinel(wire.OpSign, err))
		}
	}
}

// alarm ends an epoch whose token computes wrongly. The signature stays here.
func (k *Key) alarm(e *epoch, m wire.Mechanism) error {
	err := k.wrap(wire.OpSign, fmt.Errorf("%w: %v", ErrBadSignature, m))
	k.token.cfg.Logger.Error("ALARM: the token returned a signature that does not verify; it was not released",
		"key", refName(k.ref), "mechanism", m.String(), "serial", e.info.Serial)
	e.end(err)
	return err
}

func (k *Key) wrap(op wire.Op, err error) error {
	return fmt.Errorf("token %s: %s with key %s: %w", k.token.cfg.Name, op, refName(k.ref), err)
}

// sign has one signature made in e, in a slot that acquire took and finished gives back.
// failed is called if it fails, also if that is after ctx has ended.
func (e *epoch) sign(ctx context.Context, r wire.SignRequest, finished func(wire.Timing), failed func(error)) ([]byte, error) {
	return call(ctx, e, wire.OpSign, e.token.metrics.use[r.Mechanism], finished,
		func(ctx context.Context) ([]byte, wire.Timing, error) {
			sig, timing, err := e.client.Sign(ctx, r)
			if err != nil {
				failed(err)
			}
			return sig, timing, err
		})
}

// finished gives the slot back of a call of this kind that waited for it so long.
func (e *epoch) finished(kind *recent, waited time.Duration) func(wire.Timing) {
	return func(timing wire.Timing) {
		e.slots.release()
		if timing.Call > 0 {
			e.token.recent.observe(timing.Call)
			kind.observe(timing.Call)
		}
		e.token.metrics.wait.Observe((waited + timing.Wait).Seconds())
	}
}

// Signer is the key for the standard library, crypto/x509 above all: each signature waits
// until ctx ends, and those of ECDSA are in ASN.1.
func (k *Key) Signer(ctx context.Context) crypto.Signer { return signer{ctx, k} }

type signer struct {
	ctx context.Context
	key *Key
}

func (s signer) Public() crypto.PublicKey { return s.key.pub }

// Sign implements crypto.Signer. The token has its own randomness.
func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := s.key.Sign(s.ctx, digest, opts)
	if err != nil {
		return nil, err
	}
	if _, ok := s.key.pub.(*ecdsa.PublicKey); ok {
		r, s := split(sig)
		return asn1.Marshal(struct{ R, S *big.Int }{r, s}) // Ecdsa-Sig-Value, RFC 3279 §2.2.3
	}
	return sig, nil
}
