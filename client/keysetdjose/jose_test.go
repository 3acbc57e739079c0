package keysetdjose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/client/keysetdjose"
	"keysetd.example/internal/keyspec"
)

func claims() []byte {
	return fmt.Appendf(nil, `{"iss":"https://issuer.example","exp":%d}`, time.Now().Add(time.Minute).Unix())
}

var specs = map[jose.SignatureAlgorithm]keyspec.Spec{
	jose.RS256: keyspec.RSA2048, jose.PS384: keyspec.RSA2048, jose.RS384: keyspec.RSA2048, jose.ES256: keyspec.P256, jose.ES512: keyspec.P521, jose.EdDSA: keyspec.Ed25519,
}

// TestSigners: both kinds, with each kind of key, through go-jose and its package jwt.
func TestSigners(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	for alg, spec := range specs {
		for _, keyset := range []string{"default", "any"} {
			opaque, err := keysetdjose.NewOpaqueSigner(c, keyset, alg)
			if err != nil {
				t.Fatal(err)
			}
			over, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: opaque}, nil)
			if err != nil {
				t.Fatal(err)
			}
			own, err := keysetdjose.NewSigner(c, keyset, alg, (&jose.SignerOptions{}).WithType("at+jwt"))
			if err != nil {
				t.Fatal(err)
			}
			for _, signer := range []jose.Signer{over, own} {
				token, err := jwt.Signed(signer).Claims(jwt.Claims{Issuer: "https://issuer.example", Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute))}).Serialize()
				if err != nil {
					t.Fatalf("%s %s: %v", keyset, alg, err)
				}
				parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{alg})
				if err != nil {
					t.Fatal(err)
				}
				var got jwt.Claims
				if err := parsed.Claims(h.Keys[spec].Public, &got); err != nil || got.Issuer != "https://issuer.example" {
					t.Errorf("%s %s: %+v, %v", keyset, alg, got, err)
				}
				if parsed.Headers[0].KeyID != opaque.Public().KeyID {
					t.Errorf("%s %s: kid %q", keyset, alg, parsed.Headers[0].KeyID)
				}
			}
		}
	}
}

func TestSignersRefuse(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	if _, err := keysetdjose.NewSigner(c, "default", jose.ES256, &jose.SignerOptions{EmbedJWK: true}); err == nil {
		t.Error("an embedded jwk")
	}
	if _, err := keysetdjose.NewSigner(c, "nope", jose.ES256, nil); !errors.Is(err, client.ErrKeysetUnknown) {
		t.Errorf("%v", err)
	}
	signer, err := keysetdjose.NewSigner(c, "default", jose.ES256, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign([]byte(`{"iss":"https://other.example","exp":1}`)); !errors.Is(err, client.ErrIssuerMismatch) && !errors.Is(err, client.ErrBadClaims) {
		t.Errorf("the policy was not asked: %v", err)
	}
	opaque, err := keysetdjose.NewOpaqueSigner(c, "default", jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opaque.SignPayload([]byte("a.b"), jose.RS256); !errors.Is(err, jose.ErrUnsupportedAlgorithm) || !slices.Equal(opaque.Algs(), []jose.SignatureAlgorithm{jose.ES256}) {
		t.Errorf("another alg: %v", err)
	}
}

// nonces are a moment between go-jose's asking for the key and its asking for the signature.
type nonces func()

func (n nonces) Nonce() (string, error) { n(); return "n", nil }

// TestRotationBetweenHeaderAndSignature: NewSigner signs anew; over an OpaqueSigner that one call fails.
func TestRotationBetweenHeaderAndSignature(t *testing.T) {
	h := clienttest.Start(t)
	allowNonce(t, h)
	c := h.Dial(t)
	rotate := sync.OnceFunc(func() { h.Rotate(t, "next"); allowNonce(t, h) })
	signer, err := keysetdjose.NewSigner(c, "default", jose.ES256, &jose.SignerOptions{NonceSource: nonces(func() { rotate() })})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify(h.Keys[keyspec.P256].Public); err != nil || signed.Signatures[0].Header.KeyID != "" && signed.Signatures[0].Header.KeyID != h.KIDs[keyspec.P256] {
		t.Errorf("not by the new key: %v", err)
	}

	opaque, err := keysetdjose.NewOpaqueSigner(c, "default", jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	rotate = sync.OnceFunc(func() { h.Rotate(t, "after next"); allowNonce(t, h) })
	over, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: opaque}, &jose.SignerOptions{NonceSource: nonces(func() { rotate() })})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := over.Sign(claims()); !errors.Is(err, client.ErrKidNotActive) {
		t.Errorf("%v", err)
	}
	if _, err := over.Sign(claims()); err != nil {
		t.Errorf("the call after it: %v", err)
	}
}

// allowNonce lets callers of keyset default set a nonce.
func allowNonce(t *testing.T, h *clienttest.House) {
	t.Helper()
	keysets := h.Keysets()
	keysets[0].Header.Allow = []string{"nonce"}
	h.Swap(t, keysets)
}

// TestRotationsUnderSigners: no call fails, and few ask for the key.
func TestRotationsUnderSigners(t *testing.T) {
	h := clienttest.Start(t)
	signer, err := keysetdjose.NewSigner(h.Dial(t), "default", jose.ES256, nil)
	if err != nil {
		t.Fatal(err)
	}
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
				if _, err := signer.Sign(claims()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 10 {
		time.Sleep(30 * time.Millisecond)
		h.Rotate(t, fmt.Sprint("rsa-", i))
	}
	close(done)
	callers.Wait()
	if n := h.KeyLookups.Load(); n > 40 {
		t.Errorf("asked %d times for the key in 10 rotations", n)
	}
}

func TestKeyDecrypter(t *testing.T) {
	h := clienttest.Start(t)
	decrypter := keysetdjose.NewKeyDecrypter(h.Dial(t), "enc")
	secret := bytes.Repeat([]byte("secret "), 1000)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := h.EncKeys[keyspec.P256].Public()
	for _, test := range []struct {
		alg  jose.KeyAlgorithm
		key  any
		kid  string
		want error
	}{
		{jose.RSA_OAEP, h.EncKeys[keyspec.RSA2048].Public(), "", nil},
		{jose.RSA_OAEP, h.EncKeys[keyspec.RSA2048].Public(), "enc-rsa-2048", nil},
		{jose.ECDH_ES, ec, "enc-p-256", nil},
		{jose.ECDH_ES_A128KW, ec, "enc-p-256", nil},
		{jose.ECDH_ES_A256KW, ec, "", nil},
		{jose.ECDH_ES_A256KW, stranger.Public(), "", jose.ErrCryptoFailure},
	} {
		for _, enc := range []jose.ContentEncryption{jose.A256GCM, jose.A128CBC_HS256} {
			encrypter, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: test.alg, Key: test.key, KeyID: test.kid}, (&jose.EncrypterOptions{}).WithType("JWT"))
			if err != nil {
				t.Fatal(err)
			}
			message, err := encrypter.Encrypt(secret)
			if err != nil {
				t.Fatal(err)
			}
			compact, err := message.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := jose.ParseEncryptedCompact(compact, []jose.KeyAlgorithm{test.alg}, []jose.ContentEncryption{enc})
			if err != nil {
				t.Fatal(err)
			}
			plaintext, err := parsed.Decrypt(decrypter)
			if !errors.Is(err, test.want) || err == nil && !bytes.Equal(plaintext, secret) {
				t.Errorf("%s %s kid %q: %v, want %v", test.alg, enc, test.kid, err, test.want)
			}
		}
	}
}
