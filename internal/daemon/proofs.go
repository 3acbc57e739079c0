package daemon

import (
	"context"
	"crypto"
	"errors"
	"maps"
	"sync"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
)

// proofs are what keys were seen to decrypt by. What a token lists is a claim; others are told to
// encrypt by what was proven only. A proof lasts until the token says otherwise, also while it is down.
type proofs struct {
	mu     sync.Mutex
	proven map[proof]bool
}

type proof struct {
	provenName
	hash crypto.Hash
}

// provenName is a key on a token, by its CKA_ID and its label.
type provenName struct{ token, id, label string }

// provenKey is a key whose algorithms are those that are proven.
type provenKey struct {
	tokenKey
	proofs *proofs
	name   provenName
	spec   keyspec.Spec
}

// DecryptUnsupported is part of signing.Decrypter.
func (k provenKey) DecryptUnsupported(hash crypto.Hash) bool {
	k.proofs.mu.Lock()
	defer k.proofs.mu.Unlock()
	return !k.proofs.proven[proof{k.name, hash}]
}

// hashes are the ways to decrypt of which there can be a proof.
func (k provenKey) hashes() (hashes map[crypto.Hash]bool) {
	hashes = map[crypto.Hash]bool{}
	for _, alg := range jwa.DecryptionBy(k.spec) {
		hashes[jwa.DecryptionHash(alg)] = true
	}
	return hashes
}

const (
	// probeLimit is how long one probe may take.
	probeLimit = 10 * time.Second
	// proveAgain is when keys of which nothing could be found out are probed again. A token that comes
	// back is not waited for: it rings.
	proveAgain = 10 * time.Second
	// firstProof is how long the doors stay closed at a start for keys to be proven.
	firstProof = 2 * time.Second
)

// proveFirst proves what it can before somebody asks: those who were there before a restart are to
// be served after it. A token that takes longer is not waited for.
func (p *publisher) proveFirst(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstProof)
	defer cancel()
	p.prove(ctx)
}

// keepProving proves the keys that decrypt whenever something new is shown or heard of a token, and
// shows what is proven.
func (p *publisher) keepProving(ctx context.Context, heard <-chan struct{}) {
	for {
		var again <-chan time.Time
		if !p.prove(ctx) {
			again = time.After(proveAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-heard:
		case <-again:
		}
	}
}

// prove probes every key that decrypts or will, those of different tokens at once, and shows what
// that changed. It reports whether something is known of all of them.
func (p *publisher) prove(ctx context.Context) (all bool) {
	var probing sync.WaitGroup
	var mu sync.Mutex
	found, unknown := map[proof]bool{}, map[proof]bool{}
	for _, keys := range p.unwrapping() {
		probing.Go(func() {
			known, rest := probe(ctx, keys)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(found, known)
			maps.Copy(unknown, rest)
		})
	}
	probing.Wait()
	if p.proofs.replace(found, unknown) {
		if err := p.again(); err != nil {
			p.log.Error("showing what keys decrypt by", "error", err)
		}
	}
	return len(unknown) == 0
}

// unwrapping are the keys to prove, by their tokens.
func (p *publisher) unwrapping() map[string][]provenKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := map[string][]provenKey{}
	for _, m := range p.made {
		for _, k := range m.unwrapping {
			keys[k.name.token] = append(keys[k.name.token], k)
		}
	}
	return keys
}

// probe tells what the keys of one token decrypt by, and of what it is unknown now. A token that does
// not answer is not asked for each of its keys.
func probe(ctx context.Context, keys []provenKey) (known, unknown map[proof]bool) {
	known, unknown = map[proof]bool{}, map[proof]bool{}
	away := false
	for _, k := range keys {
		for hash := range k.hashes() {
			at := proof{k.name, hash}
			if away {
				unknown[at] = true
				continue
			}
			ctx, cancel := context.WithTimeout(ctx, probeLimit)
			err := k.ProbeDecrypt(ctx, hash)
			cancel()
			switch {
			case err == nil, errors.Is(err, hsm.ErrUnsupported):
				known[at] = err == nil
			default:
				unknown[at] = true
				away = errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
			}
		}
	}
	return known, unknown
}

// replace takes what was found for what was known; what is unknown now stays as it was, and what is
// neither is forgotten. It reports whether a key decrypts otherwise than before.
func (ps *proofs) replace(found, unknown map[proof]bool) (changed bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for at := range unknown {
		found[at] = ps.proven[at]
	}
	for at, good := range found {
		changed = changed || good != ps.proven[at]
	}
	ps.proven = found
	return changed
}

// allDecrypt reports whether every keyset of the configuration that is to decrypt is proven to.
func (p *publisher) allDecrypt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, ks := range p.cfg.Keysets {
		if ks.Purpose == config.Enc && (p.last == nil || !p.made[p.last.Keysets[name]].decrypts()) {
			return false
		}
	}
	return true
}

// decrypts reports whether an active key is proven to decrypt by something.
func (s shown) decrypts() bool {
	for _, d := range s.signing.Decrypters {
		for _, alg := range jwa.DecryptionBy(d.Spec) {
			if d.Active && !d.Key.DecryptUnsupported(jwa.DecryptionHash(alg)) {
				return true
			}
		}
	}
	return false
}
