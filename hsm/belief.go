package hsm

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"keysetd.example/hsm/wire"
)

// belief is what an epoch holds to be true of one key that it has examined. Nothing of
// it outlives the epoch: the token behind the next may be another, or have other firmware.
type belief struct {
	epoch       uint64
	usage       Usage
	gone        atomic.Bool // whoever finds it has to examine the key again
	proven      [methods]atomic.Bool
	unsupported [methods]atomic.Pointer[wire.Error] // as the token put it
}

// method is a way to sign or to decrypt: a mechanism with its hash, since tokens that have the one need not have
// it with every hash.
type method uint8

// The methods from oaep1 on decrypt, those before sign.
const (
	oaep1 method = 10 + iota
	oaep256
	ecdh1
	methods
)

func methodOf(m wire.Mechanism, h crypto.Hash) method {
	switch m {
	case wire.RSAPKCS:
		return method(h - crypto.SHA256) // SHA-256, -384 and -512 follow each other
	case wire.RSAPSS256, wire.RSAPSS384, wire.RSAPSS512:
		return 3 + method(m-wire.RSAPSS256)
	case wire.ECDSA:
		return 6 + method(h-crypto.SHA256)
	case wire.OAEPSHA1, wire.OAEPSHA256, wire.ECDH1:
		return oaep1 + method(m-wire.OAEPSHA1)
	}
	return 9
}

// specs is how many there are in keyspec.All.
const specs = 7

// usage is what a key must be for that is used so.
func (m method) usage() Usage {
	switch {
	case m < oaep1:
		return Sign
	case m == ecdh1:
		return Derive
	}
	return Decrypt
}

// opOf is the operation that m is done by.
func opOf(m method) wire.Op {
	if m < oaep1 {
		return wire.OpSign
	}
	return wire.OpDecrypt
}

// identity is a Key and what it is used for, comparable: two with the same are examined once.
type identity struct {
	id, label, public string
	usage             Usage
}

// to is the identity of k as one that is used so.
func (k *Key) to(usage Usage) identity {
	i := k.identity
	i.usage = usage
	return i
}

// names tells whether ref may be this key: by CKA_ID where it has one, else by label.
func (i identity) names(ref Ref) bool {
	if len(ref.ID) > 0 && i.id != "" {
		return i.id == string(ref.ID)
	}
	return i.label == ref.Label
}

// beliefs are those of one epoch.
type beliefs struct {
	mu    sync.Mutex
	of    map[identity]*belief
	told  map[identity]string // refusals that were logged
	epoch uint64
}

func (b *beliefs) get(id identity) *belief {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of[id]
}

// add returns the belief in a key that passed its examination; fresh: it is the first.
func (b *beliefs) add(id identity) (_ *belief, fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.of[id]; old != nil {
		return old, false
	}
	if b.of == nil {
		b.of = map[identity]*belief{}
	}
	b.of[id] = &belief{epoch: b.epoch, usage: id.usage}
	delete(b.told, id)
	return b.of[id], true
}

// refuse tells whether a refusal is news.
func (b *beliefs) refuse(id identity, why string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told[id] == why {
		return false
	}
	if b.told == nil {
		b.told = map[identity]string{}
	}
	b.told[id] = why
	return true
}

// refusal is why a key was refused, "" if it was not.
func (b *beliefs) refusal(id identity) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told[id]
}

// forget has every key that ref names examined again when it is used next.
func (b *beliefs) forget(ref Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, old := range b.of {
		if id.names(ref) {
			old.gone.Store(true)
			delete(b.of, id)
		}
	}
}

// believed is what e holds of the key if this Key used it in e before: one load, for the hot path.
func (k *Key) believed(e *epoch, usage Usage) *belief {
	if b := k.belief.Load(); b != nil && b.epoch == e.beliefs.epoch && b.usage == usage && !b.gone.Load() {
		return b
	}
	return nil
}

// believe is believed, and examines the key where nobody did so in e. A refusal holds for as long as
// the inventory that it rests on; that is made anew when it is old, since keys come back from backups.
func (k *Key) believe(ctx context.Context, e *epoch, usage Usage) (*belief, error) {
	if b := k.believed(e, usage); b != nil {
		return b, nil
	}
	b := e.beliefs.get(k.to(usage))
	if b == nil {
		o, accepted, err := k.examine(ctx, e, usage)
		if err != nil {
			return nil, err
		}
		var fresh bool
		if b, fresh = e.beliefs.add(k.to(usage)); fresh && accepted != nil {
			k.token.cfg.Logger.Warn("a key that breaks the rules for private keys is used, because the configuration accepts it by its label",
				"key", name(o), "problem", accepted)
		}
	}
	k.belief.Store(b)
	return b, nil
}

func (k *Key) examine(ctx context.Context, e *epoch, usage Usage) (o Object, accepted, err error) {
	// A key that was well before something was made or destroyed is well: a fresh list may have to
	// wait for a key that is being made.
	if o, accepted, err := examine(e.inventory.latest(), k.ref, k.pub, usage, k.token.cfg.Accept); err == nil {
		return o, accepted, nil
	}
	for {
		objects, err := e.objects(ctx)
		if err != nil {
			return o, nil, sentinel(wire.OpList, err)
		}
		o, accepted, err = examine(objects, k.ref, k.pub, usage, k.token.cfg.Accept)
		switch {
		case err == nil:
			return o, accepted, nil
		case e.inventory.expire(): // look again
		default:
			if e.beliefs.refuse(k.to(usage), err.Error()) {
				k.token.cfg.Logger.Error("a key is refused", "key", refName(k.ref), "problem", err)
				k.token.cfg.OnChange()
			}
			return o, nil, err
		}
	}
}

// learn draws the conclusions from a failed signature or decryption.
func (k *Key) learn(e *epoch, b *belief, m method, err error) {
	failure, ok := errors.AsType[*wire.Error](err)
	op := opOf(m)
	switch {
	case !ok || judge(op, err) == endsEpoch:
	case failure.Reason == wire.KeyMissing || failure.Reason == wire.KeyNotOne:
		e.inventory.expire()
		e.beliefs.forget(k.ref)
	case b.proven[m].Load(): // what worked a moment ago is not unsupported
	case judge(op, err) == unsupported:
		k.giveUp(b, m, failure)
	}
}

// giveUp has nobody ask for m with the key again in this epoch.
func (k *Key) giveUp(b *belief, m method, failure *wire.Error) {
	if b.unsupported[m].CompareAndSwap(nil, failure) {
		k.token.cfg.Logger.Warn(fmt.Sprintf("the token does not support this way to %s with this key; it is not asked again in this epoch", m.usage()),
			"key", refName(k.ref), "problem", describe(failure))
		k.token.cfg.OnChange()
	}
}
