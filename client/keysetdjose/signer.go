package keysetdjose

import (
	"context"
	"errors"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/client"
)

// maxRotations is how many rotations one call bears; there are hours between them.
const maxRotations = 3

type signer struct {
	jose.Signer
	key *key
}

// NewSigner returns a jose.Signer that follows rotation: where one comes between header and
// signature, the header is written and signed anew (with another nonce, where opts have a source
// of them), so that no call fails. opts may be nil. Header parameters in them besides typ are those
// that the keyset lets callers set; EmbedJWK is refused, since keysetd's tokens name their key by kid.
func NewSigner(c *client.Client, keyset string, alg jose.SignatureAlgorithm, opts *jose.SignerOptions) (jose.Signer, error) {
	if opts != nil && opts.EmbedJWK {
		return nil, errors.New("keysetd signs no header with an embedded jwk; leave EmbedJWK out, the header has the kid")
	}
	k, err := newKey(c, keyset, alg)
	if err != nil {
		return nil, err
	}
	inner, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: opaque{k}}, opts)
	if err != nil {
		return nil, err
	}
	return &signer{inner, k}, nil
}

// Sign signs claims.
func (s *signer) Sign(payload []byte) (*jose.JSONWebSignature, error) {
	for n := 0; ; n++ {
		before := s.key.known()
		signed, err := s.Signer.Sign(payload)
		if !errors.Is(err, client.ErrKidNotActive) || n >= maxRotations {
			return signed, err
		}
		if err := s.refresh(before); err != nil {
			return nil, err
		}
	}
}

func (s *signer) refresh(stale *jose.JSONWebKey) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return s.key.refresh(ctx, stale)
}
