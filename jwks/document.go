package jwks

import (
	"crypto"
	"crypto/sha1" // x5t is SHA-1 by definition (RFC 7517 §4.8); nothing trusts it here
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/jwks/x5c"
)

// Use is what a published key is for (RFC 7517 §4.2).
type Use string

// The uses.
const (
	Signature  Use = "sig" // of keys that sign
	Encryption Use = "enc" // of keys that others encrypt to
)

// Key is the public side of one key.
type Key struct {
	// KID names the key; it is required.
	KID string
	// Public is an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey of one of the key specs.
	Public crypto.PublicKey
	// Use is required.
	Use Use
	// Chain is X.509 DER, leaf first; empty for a key without x5c. The leaf is for Public.
	Chain [][]byte
	// Active is for a key that signs now, or that others are to encrypt to now. The document is the
	// same either way; certificate pages show active keys to whoever names none.
	Active bool
}

// Options are a keyset's choices for its document.
type Options struct {
	// Algorithms under which RSA keys that sign are published once more, each with a kid of its own
	// (see Entries): all that are to stand on the page, signed with or not. Empty: none.
	Algorithms []jose.SignatureAlgorithm
	// X5T adds the SHA-1 thumbprint of certificates beside the SHA-256 one, for verifiers
	// that know no other.
	X5T bool
	// MaxAge is how long a fetched document is fresh (RFC 9111 §5.2.2.1), in whole seconds:
	// what is below is cut off. At least one second. An answer says this or up to a tenth less, at
	// random, so that verifiers do not return in step.
	MaxAge time.Duration
	// FreshUntil is an instant beyond which no answer is fresh: of keys that others encrypt to,
	// the next activation, which is the next one's publication. Answers given less than a second
	// before it, or after, must be asked for anew each time. Zero: there is none.
	FreshUntil time.Time
}

// mediaType of a JWK Set (RFC 7517 §8.5.2).
const mediaType = "application/jwk-set+json"

// NewDocument makes the JWK Set of keys, in their order. The same input gives the same
// bytes. A key that is given again, under the same kid and for the same use, is published as it
// was given first. A kid that would stand twice otherwise is an error, for a verifier could take
// either key; so is a chain that is not for its key, and an Ed25519 key for encryption. No keys give an
// empty set.
func NewDocument(keys []Key, opts Options) (*Page, error) {
	entries, err := entriesOf(keys, opts)
	if err != nil {
		return nil, err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}} // not nil: "keys" is an array (RFC 7517 §5.1)
	for _, e := range entries {
		set.Keys = append(set.Keys, e.jwks...)
	}
	body, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encoding the JWKS: %w", err)
	}
	return newPage(mediaType, body, newFreshness(opts.MaxAge, opts.FreshUntil)), nil
}

// keyEntries is a key with its JWKs.
type keyEntries struct {
	key  Key
	jwks []jose.JSONWebKey
}

// entriesOf are keys, each once, with their JWKs, as NewDocument says.
func entriesOf(keys []Key, opts Options) (all []keyEntries, err error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("making the JWKS: %w", err)
	}
	seen := map[string]bool{}
	for i, key := range keys {
		if slices.ContainsFunc(keys[:i], key.same) {
			continue
		}
		entries, err := key.entries(opts)
		if err != nil {
			return nil, fmt.Errorf("making the JWKS entry of key %q: %w", key.KID, err)
		}
		for _, entry := range entries {
			if seen[entry.KeyID] {
				return nil, fmt.Errorf("making the JWKS: kid %q would stand in it twice; every key needs a kid of its own", entry.KeyID)
			}
			seen[entry.KeyID] = true
		}
		all = append(all, keyEntries{key, entries})
	}
	return all, nil
}

func (o Options) check() error {
	if o.MaxAge < time.Second {
		return fmt.Errorf("max-age %v is shorter than 1s, the unit of Cache-Control", o.MaxAge)
	}
	return nil
}

// entries are the JWKs of k: the same key and chain under each of its names.
func (k Key) entries(opts Options) ([]jose.JSONWebKey, error) {
	spec, err := specOf(k.Public)
	if err != nil {
		return nil, err
	}
	if k.KID == "" {
		return nil, errors.New("the kid is empty")
	}
	jwk, err := k.nameless(opts)
	if err != nil {
		return nil, err
	}
	var jwks []jose.JSONWebKey
	add := func(kid, alg string) {
		jwk.KeyID, jwk.Algorithm = kid, alg
		jwks = append(jwks, jwk)
	}
	switch k.Use {
	case Signature:
		for _, entry := range Entries(k.KID, spec, opts.Algorithms) {
			add(entry.KID, string(entry.Algorithm))
		}
	case Encryption:
		alg, err := keyManagement(spec)
		if err != nil {
			return nil, err
		}
		add(k.KID, string(alg))
	default:
		return nil, fmt.Errorf("use %q is none that is published; the uses are %q and %q", k.Use, Signature, Encryption)
	}
	return jwks, nil
}

// nameless is the JWK of k without kid and alg.
func (k Key) nameless(opts Options) (jwk jose.JSONWebKey, err error) {
	jwk = jose.JSONWebKey{Key: k.Public, Use: string(k.Use)}
	if len(k.Chain) == 0 {
		return jwk, nil
	}
	if jwk.Certificates, err = x5c.Parse(k.Chain, k.Public); err != nil {
		return jwk, err
	}
	sum := sha256.Sum256(k.Chain[0])
	jwk.CertificateThumbprintSHA256 = sum[:]
	if opts.X5T {
		sum := sha1.Sum(k.Chain[0])
		jwk.CertificateThumbprintSHA1 = sum[:]
	}
	return jwk, nil
}

// JWK is k alone, as it is used with alg: its entry in the document, with alg also where the
// entry has none because it serves several.
func (k Key) JWK(alg string) ([]byte, error) {
	if _, err := specOf(k.Public); err != nil {
		return nil, fmt.Errorf("making the JWK of key %q: %w", k.KID, err)
	}
	jwk, err := k.nameless(Options{})
	if err != nil {
		return nil, fmt.Errorf("making the JWK of key %q: %w", k.KID, err)
	}
	jwk.KeyID, jwk.Algorithm = k.KID, alg
	body, err := jwk.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding the JWK of key %q: %w", k.KID, err)
	}
	return body, nil
}

// same reports whether other is this key again.
func (k Key) same(other Key) bool {
	pub, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.KID == other.KID && k.Use == other.Use && pub.Equal(other.Public)
}
