// Package keysetdjwt has golang-jwt sign with the keys of keysetd.
//
//	c, err := client.Dial("")
//	token := jwt.NewWithClaims(keysetdjwt.ES256, claims)
//	signed, err := keysetdjwt.Sign(ctx, c, "default", token)
//
// Sign follows rotation. Where a library wants to call SignedString itself, give it a Key and set the
// header's kid: that is pinned to one key.
//
// The methods are not registered with golang-jwt: its own go on to verify.
package keysetdjwt

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// Method is a jwt.SigningMethod that signs through keysetd; its value is the alg (RFC 7518 §3.1).
type Method string

// The methods.
const (
	RS256 Method = "RS256"
	RS384 Method = "RS384"
	RS512 Method = "RS512"
	PS256 Method = "PS256"
	PS384 Method = "PS384"
	PS512 Method = "PS512"
	ES256 Method = "ES256"
	ES384 Method = "ES384"
	ES512 Method = "ES512"
	EdDSA Method = "EdDSA"
)

var _ jwt.SigningMethod = Method("")

// Key is what Method's Sign takes for a key.
type Key struct {
	Client *client.Client
	Keyset string
	// Context of the signatures, since golang-jwt has none. Unset: context.Background().
	Context context.Context
}

// Alg returns the method's alg.
func (m Method) Alg() string { return string(m) }

// Sign has the daemon sign a signing input whose header names the keyset's key for this alg by
// its kid. It fails with client.ErrKidNotActive once that key no longer signs; the header is then
// to be written anew.
func (m Method) Sign(input string, key any) ([]byte, error) {
	k, ok := key.(Key)
	if !ok || k.Client == nil {
		return nil, fmt.Errorf("signing with keysetd takes a keysetdjwt.Key with a Client, not a %T: %w", key, jwt.ErrInvalidKeyType)
	}
	reply, err := k.Client.SignJWT(cmp.Or(k.Context, context.Background()), k.Keyset, &v1.JWTRequest{SigningInput: input, Alg: string(m)})
	if err != nil {
		return nil, err
	}
	sig, err := base64.RawURLEncoding.DecodeString(reply.Signature)
	if err != nil {
		return nil, fmt.Errorf("reading keysetd's signature: %w", err)
	}
	return sig, nil
}

// Verify verifies with the public key that golang-jwt's own method of this alg takes.
func (m Method) Verify(input string, sig []byte, key any) error {
	own := jwt.GetSigningMethod(string(m))
	if own == nil {
		return fmt.Errorf("alg %q: %w", string(m), jwt.ErrTokenUnverifiable)
	}
	return own.Verify(input, sig, key)
}
