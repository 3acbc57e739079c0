package keysetdjwt_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/client/keysetdjwt"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/signingtest"
)

func claims() jwt.MapClaims {
	return jwt.MapClaims{"iss": signingtest.Issuer, "exp": time.Now().Add(time.Minute).Unix(), "html": "<&>"}
}

var methods = map[keysetdjwt.Method]keyspec.Spec{
	keysetdjwt.RS256: keyspec.RSA2048, keysetdjwt.RS384: keyspec.RSA2048, keysetdjwt.RS512: keyspec.RSA2048,
	keysetdjwt.PS256: keyspec.RSA2048, keysetdjwt.PS384: keyspec.RSA2048, keysetdjwt.PS512: keyspec.RSA2048,
	keysetdjwt.ES256: keyspec.P256, keysetdjwt.ES384: keyspec.P384, keysetdjwt.ES512: keyspec.P521, keysetdjwt.EdDSA: keyspec.Ed25519,
}

// TestSign: each method, both ways, judged by golang-jwt's own.
func TestSign(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	for method, spec := range methods {
		token := jwt.NewWithClaims(method, claims())
		token.Header["typ"], token.Header["kid"] = "at+jwt", "of the past"
		signed, err := keysetdjwt.Sign(t.Context(), c, "default", token)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if token.Header["kid"] != h.KIDs[spec] || token.Header["typ"] != "at+jwt" || len(token.Signature) == 0 {
			t.Errorf("%s: the token was not made what was signed: %v", method, token.Header)
		}

		pinned := jwt.NewWithClaims(method, claims())
		pinned.Header["kid"] = h.KIDs[spec]
		other, err := pinned.SignedString(keysetdjwt.Key{Client: c, Keyset: "default", Context: t.Context()})
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		for _, s := range []string{signed, other} {
			parsed, err := jwt.Parse(s, func(token *jwt.Token) (any, error) { return h.Keys[spec].Public, nil }, jwt.WithValidMethods([]string{method.Alg()}))
			if err != nil || parsed.Claims.(jwt.MapClaims)["html"] != "<&>" {
				t.Errorf("%s: %v", method, err)
			}
			if parsed.Method == jwt.SigningMethod(method) {
				t.Errorf("%s took the place of golang-jwt's own", method)
			}
			input := s[:len(s)-1-len(pinned.EncodeSegment(parsed.Signature))]
			if err := method.Verify(input, parsed.Signature, h.Keys[spec].Public); err != nil {
				t.Errorf("%s: %v", method, err)
			}
			if err := method.Verify(input+"x", parsed.Signature, h.Keys[spec].Public); err == nil {
				t.Errorf("%s verifies what was not signed", method)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	token := jwt.NewWithClaims(keysetdjwt.ES256, jwt.MapClaims{"iss": "https://other.example"})
	if _, err := keysetdjwt.Sign(t.Context(), c, "default", token); !errors.Is(err, client.ErrIssuerMismatch) && !errors.Is(err, client.ErrBadClaims) {
		t.Errorf("%v", err)
	}
	token = jwt.NewWithClaims(keysetdjwt.ES256, claims())
	token.Header["x"] = 1
	if _, err := keysetdjwt.Sign(t.Context(), c, "default", token); !errors.Is(err, client.ErrBadHeader) {
		t.Errorf("%v", err)
	}
	for _, key := range []any{nil, []byte("secret"), keysetdjwt.Key{}} {
		if _, err := keysetdjwt.ES256.Sign("a.b", key); !errors.Is(err, jwt.ErrInvalidKeyType) {
			t.Errorf("%T: %v", key, err)
		}
	}
	if err := keysetdjwt.Method("HS257").Verify("a.b", nil, nil); !errors.Is(err, jwt.ErrTokenUnverifiable) {
		t.Errorf("%v", err)
	}
}

// TestRotation: Sign does not notice one, and what is pinned says so.
func TestRotation(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	kid := h.KIDs[keyspec.P256]
	done := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := keysetdjwt.Sign(t.Context(), c, "default", jwt.NewWithClaims(keysetdjwt.ES256, claims())); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 10 {
		time.Sleep(20 * time.Millisecond)
		h.Rotate(t, fmt.Sprint("rsa-", i))
	}
	close(done)
	callers.Wait()
	pinned := jwt.NewWithClaims(keysetdjwt.ES256, claims())
	pinned.Header["kid"] = kid
	if _, err := pinned.SignedString(keysetdjwt.Key{Client: c, Keyset: "default"}); !errors.Is(err, client.ErrKidNotActive) {
		t.Errorf("%v", err)
	}
}
