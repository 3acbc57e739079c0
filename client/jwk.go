package client

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"

	"github.com/go-json-experiment/json"
)

// jwk is a public key as a JWKS has it (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
type jwk struct {
	KTY string   `json:"kty"`
	CRV string   `json:"crv"`
	N   string   `json:"n"`
	E   string   `json:"e"`
	X   string   `json:"x"`
	Y   string   `json:"y"`
	X5C [][]byte `json:"x5c"` // base64 in the standard alphabet, as []byte is in JSON
}

// publicKey is an interface that the public keys of the standard library satisfy.
type publicKey interface{ Equal(crypto.PublicKey) bool }

// parseJWK returns the key, and its certificates in DER, its own first.
func parseJWK(raw []byte) (publicKey, [][]byte, error) {
	var k jwk
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, nil, err
	}
	public, err := k.public()
	if err != nil {
		return nil, nil, err
	}
	if len(k.X5C) > 0 {
		certificate, err := x509.ParseCertificate(k.X5C[0])
		if err != nil {
			return nil, nil, fmt.Errorf("x5c: %w", err)
		}
		if !public.Equal(certificate.PublicKey) {
			return nil, nil, errors.New("x5c: the certificate is not the key's")
		}
	}
	return public, k.X5C, nil
}

func (k *jwk) public() (publicKey, error) {
	var bad error
	decode := func(member, s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || len(b) == 0 {
			bad = errors.Join(bad, fmt.Errorf("member %s is missing or is not base64url", member))
		}
		return b
	}
	switch k.KTY {
	case "RSA":
		n, e := new(big.Int).SetBytes(decode("n", k.N)), new(big.Int).SetBytes(decode("e", k.E))
		if bad != nil || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, errors.Join(errors.New("the RSA key cannot be read"), bad)
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.CRV]
		if curve == nil {
			return nil, fmt.Errorf("the curve %q is not known", k.CRV)
		}
		size := (curve.Params().BitSize + 7) / 8
		x, y := decode("x", k.X), decode("y", k.Y)
		if bad != nil || len(x) != size || len(y) != size {
			return nil, errors.Join(fmt.Errorf("the coordinates are not of %d bytes each", size), bad)
		}
		return ecdsa.ParseUncompressedPublicKey(curve, bytes.Join([][]byte{{4}, x, y}, nil)) // SEC 1 §2.3.3
	case "OKP":
		x := decode("x", k.X)
		if bad != nil || k.CRV != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil, errors.Join(fmt.Errorf("the key is no Ed25519 key (crv %q)", k.CRV), bad)
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, fmt.Errorf("the key type %q is not known", k.KTY)
}
