package keysetdjwt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// Sign has the keyset's key for the token's alg sign the token, and returns it in compact form. The
// daemon writes the header, with alg, with the kid of whichever key signs, and with what of
// token.Header callers of the keyset may set: so no rotation can come between header and signature.
// A kid in token.Header is overwritten. The token's Header and Signature are then those that were signed.
func Sign(ctx context.Context, c *client.Client, keyset string, token *jwt.Token) (string, error) {
	claims, err := json.Marshal(token.Claims)
	if err != nil {
		return "", fmt.Errorf("writing the claims: %w", err)
	}
	req := v1.JWTRequest{Claims: claims, Alg: token.Method.Alg(), Header: map[string]jsontext.Value{}}
	for name, value := range token.Header {
		if name == "alg" || name == "kid" {
			continue
		}
		if req.Header[name], err = json.Marshal(value); err != nil {
			return "", fmt.Errorf("writing the header parameter %s: %w", name, err)
		}
	}
	reply, err := c.SignJWT(ctx, keyset, &req)
	if err != nil {
		return "", err
	}
	if err := adopt(token, reply.Token); err != nil {
		return "", err
	}
	return reply.Token, nil
}

// adopt makes token what was signed.
func adopt(token *jwt.Token, signed string) error {
	parts := strings.Split(signed, ".")
	if len(parts) != 3 {
		return fmt.Errorf("keysetd's token has %d segments and not 3", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[0])
	var header map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil {
		return fmt.Errorf("reading the header of keysetd's token: %w", err)
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return fmt.Errorf("reading the signature of keysetd's token: %w", err)
	}
	token.Header, token.Signature = header, sig
	return nil
}
