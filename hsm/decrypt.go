package hsm

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"keysetd.example/hsm/wire"
)

// Decrypt decrypts by RSAES-OAEP (RFC 8017 §7.1) with the hash that opts names, SHA-1 or SHA-256, MGF1 with
// the same, and no label. The caller clears the plaintext.
//
// When an epoch first uses the key in this way it has to decrypt something that was encrypted for it here. What an
// epoch's end interrupts is asked for again, as a signature is, and it takes its turn in the same queue.
//
// Errors wrap ErrDecrypt, ErrUnsupported, ErrOverloaded, ErrUnavailable, ErrKeyNotFound, ErrTemplate, ErrWrongKey or
// ErrClosed. ErrDecrypt tells nothing else, and takes as long as a plaintext: the token is asked also
// where the ciphertext is none by its length.
func (k *Key) Decrypt(ctx context.Context, ciphertext []byte, opts *rsa.OAEPOptions) ([]byte, error) {
	if err := checkOAEP(opts); err != nil {
		return nil, k.wrap(wire.OpDecrypt, err)
	}
	pub, ok := k.pub.(*rsa.PublicKey)
	if !ok {
		return nil, k.wrap(wire.OpDecrypt, fmt.Errorf("%w: RSAES-OAEP with a key of type %T", ErrUnsupported, k.pub))
	}
	data, fits := fitting(pub, ciphertext)
	plaintext, err := k.decrypt(ctx, opts.Hash, data)
	if err == nil && !fits {
		clear(plaintext)
		return nil, k.wrap(wire.OpDecrypt, ErrDecrypt)
	}
	return plaintext, err
}

// ECDH returns the secret that is shared with the owner of peer: the x coordinate of the product, as long as
// the field's elements (SEC 1 §3.3.1, RFC 7518 §4.6). The caller clears it. A peer on another curve is
// ErrDecrypt, without the token. All else is as with Decrypt.
func (k *Key) ECDH(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	pub, ok := k.pub.(*ecdsa.PublicKey)
	if !ok {
		return nil, k.wrap(wire.OpDecrypt, fmt.Errorf("%w: ECDH with a key of type %T", ErrUnsupported, k.pub))
	}
	ours, err := pub.ECDH()
	if err != nil {
		return nil, k.wrap(wire.OpDecrypt, fmt.Errorf("%w: %w", ErrUnsupported, err))
	}
	if peer == nil || peer.Curve() != ours.Curve() {
		return nil, k.wrap(wire.OpDecrypt, ErrDecrypt)
	}
	return k.decrypt(ctx, 0, peer.Bytes())
}

// DecryptUnsupported is Unsupported for decryption: by RSAES-OAEP with this hash, or with hash 0 by ECDH.
func (k *Key) DecryptUnsupported(hash crypto.Hash) bool {
	mechanism, err := decryption(k.pub, hash)
	if err != nil {
		return true
	}
	m := methodOf(mechanism, hash)
	b := k.known(m.usage())
	return b != nil && b.unsupported[m].Load() != nil
}

// ProbeDecrypt has the key decrypt something that was encrypted for it here, by RSAES-OAEP with this hash or
// with hash 0 by ECDH, unless it did so in this epoch. The errors are those of Decrypt but ErrDecrypt.
func (k *Key) ProbeDecrypt(ctx context.Context, hash crypto.Hash) error {
	mechanism, err := decryption(k.pub, hash)
	if err != nil {
		return k.wrap(wire.OpDecrypt, err)
	}
	m := methodOf(mechanism, hash)
	if b := k.known(m.usage()); b != nil && b.proven[m].Load() {
		return nil
	}
	_, err = k.decrypt(ctx, hash, nil)
	return err
}

// decrypt has the token decrypt data; nil only tries whether it can.
func (k *Key) decrypt(ctx context.Context, hash crypto.Hash, data []byte) ([]byte, error) {
	mechanism, err := decryption(k.pub, hash)
	if err != nil {
		return nil, k.wrap(wire.OpDecrypt, err)
	}
	m := methodOf(mechanism, hash)
	attempt, failures := 1, 0
	for admitted := false; ; admitted = true {
		e, b, waited, err := k.acquire(ctx, m, admitted)
		if err != nil {
			return nil, err
		}
		if data == nil || !b.proven[m].Load() {
			err = k.prove(ctx, e, b, mechanism, hash, waited)
			failed, refused := errors.AsType[*unproven](err)
			switch {
			case err == nil && data == nil:
				return nil, nil
			case err == nil:
				continue // the slot is given back; the next is for data
			case refused && failures+1 < attempts: // once says nothing of the key
				failures++
				continue
			case refused:
				k.giveUp(b, m, failed.why)
				return nil, k.wrap(wire.OpDecrypt, fmt.Errorf("%w: %w", ErrUnsupported, failed.why))
			}
		} else {
			d, asked := e.decrypt(ctx, wire.DecryptRequest{Key: k.ref, Mechanism: mechanism, Data: data}, e.finished(k.kind(m), waited), func(error) {})
			switch {
			case asked == nil && d.OK:
				return d.Plaintext, nil
			case asked == nil || refusesPoint(asked):
				return nil, k.wrap(wire.OpDecrypt, ErrDecrypt)
			}
			err = asked
		}
		if !again(ctx, attempt, wire.OpDecrypt, err) {
			k.learn(e, b, m, err)
			return nil, k.wrap(wire.OpDecrypt, sentinel(wire.OpDecrypt, err))
		}
		attempt++
	}
}

// unproven is the failure of a proof that is not the token's end.
type unproven struct{ why *wire.Error }

func (u *unproven) Error() string { return u.why.Error() }

// prove has e decrypt a challenge in the slot that acquire took.
func (k *Key) prove(ctx context.Context, e *epoch, b *belief, mechanism wire.Mechanism, hash crypto.Hash, waited time.Duration) error {
	m := methodOf(mechanism, hash)
	data, want, err := challenge(k.pub, hash)
	if err != nil {
		e.slots.release()
		return &unproven{&wire.Error{Reason: wire.Unsupported, Message: "encrypt something to the key's public half: " + err.Error()}}
	}
	defer clear(want)
	d, err := e.decrypt(ctx, wire.DecryptRequest{Key: k.ref, Mechanism: mechanism, Data: data}, e.finished(k.kind(m), waited), func(err error) { e.blame(k.way(m), err) })
	defer clear(d.Plaintext)
	failure, told := errors.AsType[*wire.Error](err)
	switch {
	case err == nil && d.OK && subtle.ConstantTimeCompare(d.Plaintext, want) == 1:
		b.proven[m].Store(true)
		k.token.suspects.worked(k.way(m))
		return nil
	case err == nil && d.OK:
		return &unproven{&wire.Error{Reason: wire.Unsupported, Message: fmt.Sprintf("by %v the token decrypts something that was encrypted to the key's public half to something else", mechanism)}}
	case err == nil:
		return &unproven{&wire.Error{Reason: wire.Unsupported, Message: fmt.Sprintf("by %v the token does not decrypt what was encrypted to the key's public half", mechanism)}}
	case told && judge(wire.OpDecrypt, err) == thisRequest && failure.Reason != wire.KeyMissing && failure.Reason != wire.KeyNotOne:
		return &unproven{failure}
	}
	return err
}

// refusesPoint tells whether the token has a point that it does not like, which says no more than
// that it has a ciphertext that it does not decrypt.
func refusesPoint(err error) bool {
	failure, ok := errors.AsType[*wire.Error](err)
	return ok && failure.Function == "C_DeriveKey" && judge(wire.OpDecrypt, err) != endsEpoch
}

// decrypt has e decrypt once, in a slot that acquire took and finished gives back. failed is called if it fails, also
// if that is after ctx has ended; that the token refuses the ciphertext is no failure.
func (e *epoch) decrypt(ctx context.Context, r wire.DecryptRequest, finished func(wire.Timing), failed func(error)) (wire.Decrypted, error) {
	return call(ctx, e, wire.OpDecrypt, e.token.metrics.use[r.Mechanism], finished,
		func(ctx context.Context) (wire.Decrypted, wire.Timing, error) {
			d, timing, err := e.client.Decrypt(ctx, r)
			if err != nil {
				failed(err)
			}
			return d, timing, err
		})
}
