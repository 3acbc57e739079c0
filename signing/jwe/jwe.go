// Package jwe takes compact JWEs apart (RFC 7516 §3.1) and opens them with a key that
// stays on a token: the token does the one operation that needs the private key, RSA-OAEP
// decryption or Diffie-Hellman, and the rest, which needs only what the token returned,
// is done here by go-jose's and Go's own ciphers.
//
// What is wrong with a message for all to see (its form, its header, its lengths) is told
// by Parse, before any key is touched. Whatever else fails gives one constant error, and
// only after the same work as a message that opens: an encrypted key that the token
// refuses is replaced by a random one and everything goes on (RFC 7516 §11.5).
//
// Not read: RSA1_5, whose padding is an oracle; zip, which gives lengths away and lets a
// small message become a large one; PBES2 and its counts; dir, AES and AES-GCM key wrap,
// whose keys are symmetric; any critical parameter. Keys that a header carries or points
// to (jwk, jku, x5c, x5u) are not looked at.
package jwe

import (
	"bytes"
	"errors"

	"github.com/go-jose/go-jose/v4"
)

// Bounds, in bytes.
const (
	// MaxMessage is the longest compact JWE.
	MaxMessage = 1 << 20
	// MaxHeader is the longest header, decoded.
	MaxHeader = 16 << 10
)

var (
	// ErrMalformed: the message is not one that this package reads. The text around it says why, and
	// depends on nothing but the message and the public key.
	ErrMalformed = errors.New("not a JWE that keysetd reads")
	// ErrDecrypt is the one error of every message that is well formed and does not open.
	ErrDecrypt = errors.New("the message does not decrypt")
)

// Message is a JWE that was taken apart; nothing is decrypted yet. It does not change and
// may be used by several goroutines.
type Message struct {
	header       []byte
	kid          string
	alg          keyAlgorithm
	enc          contentEncryption
	agreement    agreement // of ECDH-ES
	encryptedKey []byte
	content      *content // nil where ParseHeader made the message
}

// content is what the content encryption key opens (RFC 7516 §5.2).
type content struct {
	iv     []byte
	sealed []byte // ciphertext and tag
	aad    []byte // the header as it was encoded
}

// Alg is the algorithm of the key's encryption.
func (m *Message) Alg() jose.KeyAlgorithm { return m.alg.name }

// Enc is the algorithm of the content's encryption.
func (m *Message) Enc() jose.ContentEncryption { return m.enc.name }

// KID is the key that the header names; "" where it names none.
func (m *Message) KID() string { return m.kid }

// Header is the protected header, the JSON as it came.
func (m *Message) Header() []byte { return bytes.Clone(m.header) }
