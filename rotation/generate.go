package rotation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// idLength of a CKA_ID in bytes. It is random: an attempt of unknown end is found again by
// it, and can be taken for no other.
const idLength = 16

// How long a step waits for a token. Package hsm has its own, shorter limits for a token
// that hangs, but waits for one that is down as long as it is let. An attempt to make a
// key must not be cut off while the module works on it, as it would be swept before its end.
const (
	defaultGenerateLimit = 15 * time.Minute
	tokenLimit           = 2 * time.Minute
)

// generate makes the next generation: intent, keys and certificates, result. If it fails
// in the middle the intent stays, and is swept.
func (m *Manager) generate(ctx context.Context, k *keyset) (err error) {
	token := k.policy.Token
	turn, taken := m.generating[token], false
	k.away(func() {
		select {
		case turn <- struct{}{}:
			taken = true
		case <-ctx.Done():
		}
	})
	if !taken {
		return ctx.Err()
	}
	defer func() { <-turn }()
	// Meanwhile the configuration may have become another one.
	if !k.wantsNext() || k.policy.Token != token {
		return nil
	}
	if _, up := m.cfg.Tokens[token].Epoch(); !up {
		return fmt.Errorf("token %s: %w", token, hsm.ErrUnavailable) // went down while we queued
	}
	number, objects := k.doc.Last+1, m.attempts(k)
	clear(k.ended) // whatever older attempt is still to be swept, on another token, counts as not ended
	for _, o := range objects {
		k.ended[string(o.ID)] = true // not begun, so far
	}
	if err := m.save(ctx, k, k.doc.begin(objects, clock())); err != nil {
		return err
	}
	policy, ended := k.policy, map[string]bool{}
	var keys []Key
	k.away(func() { keys, err = m.makeKeys(ctx, k.name, number, policy, objects, ended) })
	maps.Copy(k.ended, ended)
	k.effect = m.effects.Add(1)
	if err != nil {
		return err
	}
	if _, begun := k.doc.intent(Generate, number); !begun || !k.configured || !k.doc.Removed.IsZero() {
		return fmt.Errorf("generation %d is no longer wanted", number)
	}
	if where := m.kidsTaken(k, keys); where != "" {
		return errors.New(where)
	}
	doc, events := k.doc.made(number, keys, k.policy, clock())
	return m.save(ctx, k, doc, events...)
}

// wantsNext reports whether k still wants a generation to be made.
func (k *keyset) wantsNext() bool {
	policy, follows := k.rules()
	return follows && k.configured && k.doc.Removed.IsZero() && !k.stale && !policy.static() && k.doc.needsNext(policy) && k.doc.mayAttempt(policy)
}

// attempts are the keys that are about to be made.
func (m *Manager) attempts(k *keyset) (objects []Attempt) {
	for _, spec := range k.policy.Specs {
		id := make([]byte, idLength)
		rand.Read(id) // never fails, crypto/rand
		label := Label{Installation: m.cfg.Installation, Keyset: k.name, Generation: k.doc.Last + 1, Spec: spec}
		objects = append(objects, Attempt{Token: k.policy.Token, Spec: spec, ID: id, Label: label.String()})
	}
	return objects
}

// makeKeys makes the keys of an attempt that is on record. It notes in ended which of them surely ended.
func (m *Manager) makeKeys(ctx context.Context, keyset string, number int, policy Policy, objects []Attempt, ended map[string]bool) (keys []Key, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.GenerateLimit)
	defer cancel()
	for _, o := range objects {
		ended[string(o.ID)] = false
		object, err := m.cfg.Tokens[o.Token].Generate(ctx, hsm.GenerateRequest{ID: o.ID, Label: o.Label, Spec: o.Spec, Usage: policy.usage(o.Spec)})
		ended[string(o.ID)] = isAnswer(err)
		var key Key
		if err == nil {
			key, err = m.finish(ctx, keyset, number, policy, o, object)
		}
		if err != nil {
			return nil, fmt.Errorf("key %s on token %s: %w", o.Spec, o.Token, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// finish checks a key pair that was just made, and has its certificate made.
func (m *Manager) finish(ctx context.Context, keyset string, number int, policy Policy, o Attempt, object hsm.Object) (Key, error) {
	created := clock()
	if !bytes.Equal(object.ID, o.ID) || object.Label != o.Label {
		return Key{}, fmt.Errorf("asked for CKA_ID %x with label %q, the token made %x with %q", o.ID, o.Label, object.ID, object.Label)
	}
	pub, err := x509.ParsePKIXPublicKey(object.PublicKey)
	if err != nil {
		return Key{}, fmt.Errorf("reading its public key: %w", err)
	}
	if spec, err := keyspec.Of(pub); err != nil || spec != o.Spec {
		return Key{}, errors.Join(fmt.Errorf("the token made a key of another kind: %s", spec), err)
	}
	kid, err := m.cfg.KeyID(pub)
	if err != nil {
		return Key{}, fmt.Errorf("deriving its kid: %w", err)
	}
	key := Key{Spec: o.Spec, Token: o.Token, ID: o.ID, Label: o.Label, KID: kid, Usage: policy.usage(o.Spec), Public: object.PublicKey}
	key.Chain, key.Certified, err = m.certify(ctx, keyset, number, policy, key, created)
	return key, err
}

// isAnswer reports whether err, of a call to generate a key, shows that the call has ended
// on the token. Whatever is not surely an answer may be one that is still to come.
func isAnswer(err error) bool {
	for _, lost := range []error{hsm.ErrUnavailable, hsm.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, lost) {
			return false
		}
	}
	for _, answer := range []error{hsm.ErrUnsupported, hsm.ErrTemplate, hsm.ErrOverloaded} {
		if errors.Is(err, answer) {
			return true
		}
	}
	_, answer := errors.AsType[*wire.Error](err)
	return err == nil || answer
}

// hasKID reports whether a live key of d has this kid.
func (d Document) hasKID(kid string) bool {
	return slices.ContainsFunc(d.Generations, func(g Generation) bool { return slices.Contains(g.kids(), kid) })
}

// probe has a key sign once. What it signs is no token and no certificate. A key that
// decrypts is looked for on its token.
func (m *Manager) probe(ctx context.Context, key Key) error {
	token := m.cfg.Tokens[key.Token]
	if key.Usage != "" && key.Usage != hsm.Sign {
		objects, err := token.Objects(ctx, "")
		if err != nil {
			return err
		}
		_, err = hsm.Find(objects, hsm.Ref{ID: key.ID, Label: key.Label}, key.Usage, m.accepted(key.Token))
		return err
	}
	pub, err := x509.ParsePKIXPublicKey(key.Public)
	if err != nil {
		return fmt.Errorf("reading its public key: %w", err)
	}
	signer, err := token.Signer(ctx, hsm.Ref{ID: key.ID, Label: key.Label}, pub)
	if err != nil {
		return err
	}
	data, hash := []byte("keysetd: may this key be activated?"), crypto.Hash(0)
	if key.Spec != keyspec.Ed25519 {
		digest := sha256.Sum256(data)
		data, hash = digest[:], crypto.SHA256
	}
	_, err = signer.Sign(rand.Reader, data, hash)
	return err
}

// accepted are the labels of keys on a token that may break the rules for private keys.
func (m *Manager) accepted(token string) []string {
	if m.cfg.Accept == nil {
		return nil
	}
	return m.cfg.Accept(token)
}
