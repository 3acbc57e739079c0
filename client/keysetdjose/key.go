package keysetdjose

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/client"
)

// key is the key that signs, as far as is known.
type key struct {
	client *client.Client
	keyset string
	alg    jose.SignatureAlgorithm

	mu      sync.Mutex
	current *jose.JSONWebKey
}

func (k *key) known() *jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// refresh asks which key signs now, unless somebody has since stale was known.
func (k *key) refresh(ctx context.Context, stale *jose.JSONWebKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current != stale {
		return nil
	}
	active, err := k.client.ActiveKey(ctx, k.keyset, string(k.alg))
	if err != nil {
		return err
	}
	current := new(jose.JSONWebKey)
	if err := current.UnmarshalJSON(active.JWK); err != nil {
		return fmt.Errorf("reading the key %q of keyset %s: %w", active.KID, k.keyset, err)
	}
	current.KeyID = active.KID
	k.current = current
	return nil
}
