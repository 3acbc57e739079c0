package jwks_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rfc8037Key is the public key of RFC 8037 appendix A.2.
func rfc8037Key(t testing.TB) ed25519.PublicKey {
	return unbase64(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
}

// The examples of RFC 7638 §3.1 and RFC 8037 appendix A.3.
func TestKeyIDVectors(t *testing.T) {
	n := new(big.Int).SetBytes(unbase64(t, "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"))
	for want, pub := range map[string]crypto.PublicKey{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": &rsa.PublicKey{N: n, E: 65537},
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": rfc8037Key(t),
	} {
		if got, err := jwks.KeyID(pub); err != nil || got != want {
			t.Errorf("KeyID = %q, %v; want %q", got, err, want)
		}
	}
}

// A coordinate with leading zeros keeps its full length (RFC 7518 §6.2.1.2).
func TestKeyIDShortCoordinate(t *testing.T) {
	for {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := k.PublicKey.Bytes() // 4, x, y
		if err != nil {
			t.Fatal(err)
		}
		if point[1] != 0 && point[33] != 0 {
			continue
		}
		b64 := base64.RawURLEncoding.EncodeToString
		sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, b64(point[1:33]), b64(point[33:])))
		if got, err := jwks.KeyID(k.Public()); err != nil || got != b64(sum[:]) {
			t.Errorf("KeyID = %q, %v; want %q", got, err, b64(sum[:]))
		}
		return
	}
}

// notPublished are keys that must come into no document.
func notPublished(t *testing.T) map[string]crypto.PublicKey {
	t.Helper()
	moved := *key(t, keyspec.P256).Public().(*ecdsa.PublicKey)
	moved.Curve = elliptic.P384()
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.PublicKey{
		"nothing":             nil,
		"a private RSA key":   key(t, keyspec.RSA2048),
		"a private EC key":    key(t, keyspec.P256),
		"a private Ed key":    key(t, keyspec.Ed25519),
		"a secret":            []byte("secret"),
		"an odd RSA size":     &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537},
		"another curve":       small.Public(),
		"a point off curve":   &moved,
		"a short Ed25519 key": ed25519.PublicKey("short"),
	}
}

func TestKeyIDRefuses(t *testing.T) {
	for name, pub := range notPublished(t) {
		if kid, err := jwks.KeyID(pub); err == nil {
			t.Errorf("%s has the kid %q", name, kid)
		}
	}
}

func TestEntries(t *testing.T) {
	algs := []jose.SignatureAlgorithm{jose.PS256, jose.ES256, jose.RS384}
	for _, tc := range []struct {
		spec keyspec.Spec
		algs []jose.SignatureAlgorithm
		want []jwks.Entry
	}{
		{keyspec.P256, nil, []jwks.Entry{{"k", jose.ES256}}},
		{keyspec.P384, algs, []jwks.Entry{{"k", jose.ES384}}},
		{keyspec.P521, algs, []jwks.Entry{{"k", jose.ES512}}},
		{keyspec.Ed25519, algs, []jwks.Entry{{"k", jose.EdDSA}}},
		{keyspec.RSA2048, nil, []jwks.Entry{{"k", ""}}},
		{keyspec.RSA4096, algs, []jwks.Entry{{"k", ""}, {"k-PS256", jose.PS256}, {"k-RS384", jose.RS384}}},
	} {
		if got := jwks.Entries("k", tc.spec, tc.algs); !slices.Equal(got, tc.want) {
			t.Errorf("Entries(k, %s, %v) = %v, want %v", tc.spec, tc.algs, got, tc.want)
		}
	}
}

// The kid of a token is always that of exactly one entry that may be used with its alg.
func TestKIDForMeetsEntries(t *testing.T) {
	for _, algs := range [][]jose.SignatureAlgorithm{nil, {jose.RS384}, {jose.PS256, jose.ES256, jose.RS256}, jwa.All()} {
		for _, spec := range keyspec.All() {
			for _, alg := range jwa.ForSpec(spec) {
				kid := jwks.KIDFor("k", alg, algs)
				var found []jwks.Entry
				for _, e := range jwks.Entries("k", spec, algs) {
					if e.KID == kid {
						found = append(found, e)
					}
				}
				if len(found) != 1 || found[0].Algorithm != "" && found[0].Algorithm != alg {
					t.Errorf("%s token of a %s key, algorithms %v: kid %q is %v", alg, spec, algs, kid, found)
				}
				if listed := slices.Contains(algs, alg) && spec.RSA(); listed != (found[0].Algorithm == alg && spec.RSA()) {
					t.Errorf("%s token of a %s key, algorithms %v: entry %v", alg, spec, algs, found[0])
				}
			}
		}
	}
}

// Whatever a keyset publishes, and whatever kid a token carries, is an alias of the key.
func TestAliases(t *testing.T) {
	if got, want := jwks.Aliases("k", keyspec.RSA3072), []string{"k", "k-RS256", "k-RS384", "k-RS512", "k-PS256", "k-PS384", "k-PS512"}; !slices.Equal(got, want) {
		t.Errorf("an RSA key: %q, want %q", got, want)
	}
	for _, spec := range []keyspec.Spec{keyspec.P256, keyspec.P384, keyspec.P521, keyspec.Ed25519} {
		if got := jwks.Aliases("k", spec); !slices.Equal(got, []string{"k"}) {
			t.Errorf("%s: %q, want its own kid", spec, got)
		}
	}
	for _, algs := range [][]jose.SignatureAlgorithm{nil, {jose.RS384}, jwa.All()} {
		for _, spec := range keyspec.All() {
			for _, e := range jwks.Entries("k", spec, algs) {
				if !slices.Contains(jwks.Aliases("k", spec), e.KID) {
					t.Errorf("%s: %q is no alias", spec, e.KID)
				}
			}
		}
	}
}
