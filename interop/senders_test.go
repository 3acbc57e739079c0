package interop

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	jose2go "github.com/dvsekhvalnov/jose2go"
	"github.com/dvsekhvalnov/jose2go/keys/ecc"
	"github.com/go-jose/go-jose/v4"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// message is what somebody encrypts: an ID token, which the header says (cty is JWT, RFC 7519 §5.2).
type message struct {
	kid      string // of the recipient's key on the page
	alg, enc string
	zip      bool
	unnamed  bool // without kid in the header
	token    string
}

// A sender encrypts to a key of a published JWKS, which it reads as its library does, and
// returns a compact JWE.
type sender func(page []byte, m message) (string, error)

// senders by library.
var senders = map[string]sender{"go-jose": byEncrypterOfGoJOSE, "jwx": byJWX, "jose2go": byJose2go}

func byEncrypterOfGoJOSE(page []byte, m message) (string, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(page, &set); err != nil {
		return "", err
	}
	keys := set.Key(m.kid)
	if len(keys) != 1 {
		return "", fmt.Errorf("%d keys %q", len(keys), m.kid)
	}
	recipient := jose.Recipient{Algorithm: jose.KeyAlgorithm(m.alg), Key: keys[0].Key, KeyID: m.kid}
	if m.unnamed {
		recipient.KeyID = ""
	}
	options := new(jose.EncrypterOptions)
	if m.zip {
		options.Compression = jose.DEFLATE
	}
	encrypter, err := jose.NewEncrypter(jose.ContentEncryption(m.enc), recipient, options.WithContentType("JWT"))
	if err != nil {
		return "", err
	}
	sealed, err := encrypter.Encrypt([]byte(m.token))
	if err != nil {
		return "", err
	}
	return sealed.CompactSerialize()
}

// byJWX names the parties of a key agreement (RFC 7518 §4.6.1.2), which the other two cannot.
func byJWX(page []byte, m message) (string, error) {
	set, err := jwk.Parse(page)
	if err != nil {
		return "", err
	}
	key, _ := set.LookupKeyID(m.kid)
	alg, known := jwa.LookupKeyEncryptionAlgorithm(m.alg)
	enc, alsoKnown := jwa.LookupContentEncryptionAlgorithm(m.enc)
	if key == nil || !known || !alsoKnown {
		return "", fmt.Errorf("no key %q, or not %s and %s", m.kid, m.alg, m.enc)
	}
	if m.unnamed {
		if err := key.Remove(jwk.KeyIDKey); err != nil {
			return "", err
		}
	}
	headers := jwe.NewHeaders()
	members := map[string]any{"cty": "JWT"}
	if strings.HasPrefix(m.alg, "ECDH") {
		members["apu"], members["apv"] = []byte("issuer"), []byte("api")
	}
	for name, value := range members {
		if err := headers.Set(name, value); err != nil {
			return "", err
		}
	}
	options := []jwe.EncryptOption{jwe.WithKey(alg, key, jwe.WithPerRecipientHeaders(headers)), jwe.WithContentEncryption(enc)}
	if m.zip {
		options = append(options, jwe.WithCompress(jwa.Deflate()))
	}
	sealed, err := jwe.Encrypt([]byte(m.token), options...)
	return string(sealed), err
}

// byJose2go encrypts by a library that reads no JWK: its users take the numbers out of one.
func byJose2go(page []byte, m message) (string, error) {
	key, err := numbers(page, m.kid)
	if err != nil {
		return "", err
	}
	header := map[string]any{"cty": "JWT"}
	if !m.unnamed {
		header["kid"] = m.kid
	}
	encrypt := func() (sealed string, err error) {
		// It tells the curve of its ephemeral key by the length of x, and panics where x begins with zeros.
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("jose2go panics: %v", p)
			}
		}()
		if m.zip {
			return jose2go.Encrypt(m.token, m.alg, m.enc, key, jose2go.Headers(header), jose2go.Zip(jose2go.DEF))
		}
		return jose2go.Encrypt(m.token, m.alg, m.enc, key, jose2go.Headers(header))
	}
	var sealed string
	for range 5 { // a P-384 key is one of those in 256 times
		if sealed, err = encrypt(); err == nil {
			break
		}
	}
	return sealed, err
}

// numbers makes a public key of the JWK with this kid (RFC 7518 §6).
func numbers(page []byte, kid string) (any, error) {
	var set struct {
		Keys []struct{ Kid, Kty, N, E, X, Y string }
	}
	if err := json.Unmarshal(page, &set); err != nil {
		return nil, err
	}
	for _, k := range set.Keys {
		if k.Kid != kid {
			continue
		}
		var number [4][]byte
		for i, text := range []string{k.N, k.E, k.X, k.Y} {
			var err error
			if number[i], err = base64.RawURLEncoding.DecodeString(text); err != nil {
				return nil, err
			}
		}
		if k.Kty == "EC" {
			return ecc.NewPublic(number[2], number[3]), nil
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(number[0]), E: int(new(big.Int).SetBytes(number[1]).Int64())}, nil
	}
	return nil, fmt.Errorf("no key %q", kid)
}

// encrypted is the message as library encrypts it.
func encrypted(t *testing.T, library string, page []byte, m message) string {
	t.Helper()
	sealed, err := senders[library](page, m)
	if err != nil {
		t.Fatalf("%s encrypts by %s and %s: %v", library, m.alg, m.enc, err)
	}
	return sealed
}
