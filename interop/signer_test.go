package interop

import (
	"context"
	"crypto"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// signer is one key of a raw keyset as a crypto.Signer, which is all that most Go programs
// want of a key. It pins the key: what goes with its signatures is that key's certificate.
type signer struct {
	ctx    context.Context
	client *client.Client
	keyset string
	alg    string
	hash   crypto.Hash // of alg
	// encoding of an ECDSA signature. crypto.Signer's is "der", XML's is "jws".
	encoding string
	key      jose.JSONWebKey
}

var _ crypto.Signer = (*signer)(nil)

func (s *signer) Public() crypto.PublicKey { return s.key.Key }

// Sign signs a digest. The randomness is the token's.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != s.hash {
		return nil, fmt.Errorf("a digest of %v is to be signed with %s", opts.HashFunc(), s.alg)
	}
	text := base64.RawURLEncoding.EncodeToString(digest)
	reply, err := s.client.Sign(s.ctx, s.keyset, &v1.SignRequest{Alg: s.alg, Digest: &text, Encoding: s.encoding, KID: s.key.KeyID})
	if err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.DecodeString(reply.Signature)
}
