package daemon

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/audit"
	"keysetd.example/internal/jwa"
	"keysetd.example/rotation"
)

// sealer signs the audit log's checkpoints with the keyset that is reserved for that
// (config.AuditKeyset). That is replaced like every other; this is the one place that it is shown to.
type sealer struct {
	key  func(rotation.Key) (tokenKey, error) // on its token
	keys atomic.Pointer[sealKeys]
}

// sealKeys are the keys of a moment.
type sealKeys struct {
	active *sealKey // nil where none signs
	public []crypto.PublicKey
}

// sealKey signs, and is what go-jose asks.
type sealKey struct {
	jwk jose.JSONWebKey
	alg jose.SignatureAlgorithm
	key tokenKey
}

// show takes over the reserved keyset as rotation has it now. Where that fails nothing seals: the
// keys of before may have been revoked.
func (s *sealer) show(k *rotation.Keyset) error {
	shown, err := s.of(k)
	if err != nil {
		shown = new(sealKeys)
	}
	s.keys.Store(shown)
	return err
}

// kid is that of the key that seals; empty where none does.
func (s *sealer) kid() string {
	if k := s.keys.Load(); k != nil && k.active != nil {
		return k.active.jwk.KeyID
	}
	return ""
}

// of finds the keys of a keyset. The key that signs comes first, then the one that will: the first
// vouches for the second.
func (s *sealer) of(k *rotation.Keyset) (*sealKeys, error) {
	shown := new(sealKeys)
	for _, key := range k.Signing {
		handle, err := s.key(key)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", key.KID, err)
		}
		pub, err := x509.ParsePKIXPublicKey(key.Public)
		if err != nil {
			return nil, fmt.Errorf("key %s in the store: %w", key.KID, err)
		}
		shown.public = append(shown.public, pub)
		if alg, ok := offered(key, handle); ok && shown.active == nil {
			shown.active = &sealKey{jose.JSONWebKey{Key: pub, KeyID: key.KID}, alg, handle}
		}
	}
	if pending, ok := k.Document.Pending(); ok {
		for _, key := range pending.Keys {
			pub, err := x509.ParsePKIXPublicKey(key.Public)
			if err != nil {
				return nil, fmt.Errorf("key %s in the store: %w", key.KID, err)
			}
			shown.public = append(shown.public, pub)
		}
	}
	return shown, nil
}

// offered is the first algorithm that the key's token is not known to lack.
func offered(key rotation.Key, handle tokenKey) (jose.SignatureAlgorithm, bool) {
	for _, alg := range jwa.ForSpec(key.Spec) {
		if opts, err := jwa.Options(alg); err == nil && !handle.Unsupported(opts) {
			return alg, true
		}
	}
	return "", false
}

// Keys implements audit.Sealer.
func (s *sealer) Keys() []crypto.PublicKey {
	if k := s.keys.Load(); k != nil && k.active != nil {
		return k.public
	}
	return nil
}

// Seal implements audit.Sealer.
func (s *sealer) Seal(ctx context.Context, payload []byte) (string, error) {
	k := s.keys.Load()
	if k == nil || k.active == nil {
		return "", errors.New("no key signs checkpoints")
	}
	opaque := checkpointSigner{ctx, k.active}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.active.alg, Key: opaque}, (&jose.SignerOptions{}).WithType(audit.CheckpointType))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	if now := s.keys.Load(); now.active == nil || now.active.jwk.KeyID != k.active.jwk.KeyID {
		return "", errors.New("its key was replaced while it signed, and may be revoked")
	}
	return jws.CompactSerialize()
}

// checkpointSigner is a jose.OpaqueSigner for one checkpoint.
type checkpointSigner struct {
	ctx context.Context
	*sealKey
}

// Public implements jose.OpaqueSigner.
func (c checkpointSigner) Public() *jose.JSONWebKey { return &c.jwk }

// Algs implements jose.OpaqueSigner.
func (c checkpointSigner) Algs() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{c.alg}
}

// SignPayload implements jose.OpaqueSigner.
func (c checkpointSigner) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	opts, err := jwa.Options(alg)
	if err != nil {
		return nil, err
	}
	if hash := opts.HashFunc(); hash != 0 {
		h := hash.New()
		h.Write(payload)
		payload = h.Sum(nil)
	}
	return c.key.Sign(c.ctx, payload, opts)
}
