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
func (m *Manager) generate(ctx context.Context, k *keyset) error {
	number := k.doc.Last + 1
	keys, err := m.makeKeys(ctx, k, number)
	if err != nil {
		return err
	}
	doc, events := k.doc.made(number, keys, clock())
	return m.save(ctx, k, doc, events...)
}

// makeKeys records an attempt and makes it, when it is its turn on the token.
func (m *Manager) makeKeys(ctx context.Context, k *keyset, number int) ([]Key, error) {
	turn := m.generating[k.policy.Token]
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if _, up := m.cfg.Tokens[k.policy.Token].Epoch(); !up {
		return nil, fmt.Errorf("token %s: %w", k.policy.Token, hsm.ErrUnavailable) // went down while we queued
	}
	var objects []Attempt
	for _, spec := range k.policy.Specs {
		id := make([]byte, idLength)
		rand.Read(id) // never fails, crypto/rand
		label := Label{Installation: m.cfg.Installation, Keyset: k.name, Generation: number, Spec: spec}
		objects = append(objects, Attempt{Token: k.policy.Token, Spec: spec, ID: id, Label: label.String()})
	}
	clear(k.ended) // whatever older attempt is still to be swept, on another token, counts as not ended
	for _, o := range objects {
		k.ended[string(o.ID)] = true // not begun, so far
	}
	if err := m.save(ctx, k, k.doc.begin(objects, clock())); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.GenerateLimit)
	defer cancel()
	var keys []Key
	for _, o := range objects {
		key, err := m.makeKey(ctx, k, number, o)
		if err != nil {
			return nil, fmt.Errorf("key %s on token %s: %w", o.Spec, o.Token, err)
		}
		if k.doc.hasKID(key.KID) || slices.ContainsFunc(keys, func(other Key) bool { return other.KID == key.KID }) {
			return nil, fmt.Errorf("key %s on token %s: another key has its kid %s", o.Spec, o.Token, key.KID)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// makeKey makes one key pair and its certificate.
func (m *Manager) makeKey(ctx context.Context, k *keyset, number int, o Attempt) (Key, error) {
	token := m.cfg.Tokens[o.Token]
	object, err := token.Generate(ctx, hsm.GenerateRequest{ID: o.ID, Label: o.Label, Spec: o.Spec, Usage: k.policy.Usage})
	k.ended[string(o.ID)], k.effect = isAnswer(err), m.effects.Add(1)
	if err != nil {
		return Key{}, err
	}
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
	key := Key{Spec: o.Spec, Token: o.Token, ID: o.ID, Label: o.Label, KID: kid, Public: object.PublicKey}
	if m.cfg.Certify == nil {
		return key, nil
	}
	signer, err := token.Signer(ctx, hsm.Ref{ID: o.ID, Label: o.Label}, pub)
	if err != nil {
		return Key{}, fmt.Errorf("signing its certificate: %w", err)
	}
	key.Chain, err = m.cfg.Certify(ctx, CertRequest{
		Keyset: k.name, Generation: number, Spec: o.Spec, KID: kid, Public: pub,
		NotBefore: created.Add(-k.policy.ClockSkew), NotAfter: created.Add(k.policy.CertificateLifetime()),
		Signer: signer,
	})
	if err != nil {
		return Key{}, fmt.Errorf("making its certificate: %w", err)
	}
	return key, nil
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

// probe has a key sign once. What it signs is no token and no certificate.
func (m *Manager) probe(ctx context.Context, key Key) error {
	pub, err := x509.ParsePKIXPublicKey(key.Public)
	if err != nil {
		return fmt.Errorf("reading its public key: %w", err)
	}
	signer, err := m.cfg.Tokens[key.Token].Signer(ctx, hsm.Ref{ID: key.ID, Label: key.Label}, pub)
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
