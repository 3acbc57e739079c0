package keysetdjose

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// NewOpaqueSigner returns a signer for programs that make a jose.Signer of it themselves. It
// follows rotation: Public asks the daemon each time, and answers with the last key that it knows
// where there is no answer. A rotation can still come between go-jose's writing of the header and
// the signature; that call fails with client.ErrKidNotActive and has to be made again. NewSigner does
// so by itself, and asks for the key only when it has to: prefer it.
func NewOpaqueSigner(c *client.Client, keyset string, alg jose.SignatureAlgorithm) (jose.OpaqueSigner, error) {
	k, err := newKey(c, keyset, alg)
	if err != nil {
		return nil, err
	}
	return &asking{opaque{k}}, nil
}

func newKey(c *client.Client, keyset string, alg jose.SignatureAlgorithm) (*key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	k := &key{client: c, keyset: keyset, alg: alg}
	if err := k.refresh(ctx, nil); err != nil {
		return nil, err
	}
	return k, nil
}

// opaque is a jose.OpaqueSigner for the key as it is known.
type opaque struct{ key *key }

func (o opaque) Public() *jose.JSONWebKey { return o.key.known() }

func (o opaque) Algs() []jose.SignatureAlgorithm { return []jose.SignatureAlgorithm{o.key.alg} }

// SignPayload signs a whole signing input, whose header says by which key.
func (o opaque) SignPayload(input []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	if alg != o.key.alg {
		return nil, fmt.Errorf("this signer is for %s and not for %s: %w", o.key.alg, alg, jose.ErrUnsupportedAlgorithm)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	reply, err := o.key.client.SignJWT(ctx, o.key.keyset, &v1.JWTRequest{SigningInput: string(input)})
	if err != nil {
		return nil, err
	}
	sig, err := base64.RawURLEncoding.DecodeString(reply.Signature)
	if err != nil {
		return nil, fmt.Errorf("reading keysetd's signature: %w", err)
	}
	return sig, nil
}

// asking is an opaque that finds out which key it is each time it is asked.
type asking struct{ opaque }

func (a *asking) Public() *jose.JSONWebKey {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_ = a.key.refresh(ctx, a.key.known()) // what is wrong SignPayload will tell
	return a.key.known()
}
