// Package hsm is the token as the rest of keysetd sees it: a Token that may come and
// go, and Keys on it that sign or decrypt.
//
// The PKCS#11 module itself lives in a worker process (package hsm/worker), one for
// each token, spoken to in frames (package hsm/wire). The life of a token is counted
// in epochs: one worker process from its start to its end. When an epoch ends a new
// one begins, and what was under way with keys is asked for again.
package hsm

import (
	"errors"

	"keysetd.example/hsm/wire"
)

// The words of the wire that the rest of keysetd uses.
type (
	// Info describes the token and its library.
	Info = wire.TokenInfo
	// Object is a key as the token describes it.
	Object = wire.Object
	// Ref names a key on the token.
	Ref = wire.Ref
	// GenerateRequest asks for a key pair.
	GenerateRequest = wire.GenerateRequest
	// Usage is the one thing a key may be used for.
	Usage = wire.Usage
)

// The usages.
const (
	Sign    = wire.Sign
	Decrypt = wire.Decrypt
	Derive  = wire.Derive
)

// What a caller can act on. Every error of this package that is one of these wraps it,
// and keeps the PKCS#11 code where there was one (errors.As to *wire.Error).
var (
	// ErrUnavailable: the token cannot be reached now; asking again later may work.
	ErrUnavailable = errors.New("the token is unavailable")
	// ErrOverloaded: the queue is full; nothing was tried. errors.As to *OverloadedError tells when
	// to ask again.
	ErrOverloaded = errors.New("the token's queue is full")
	// ErrKeyNotFound: a session proven logged in does not find the key.
	ErrKeyNotFound = errors.New("the key is not on the token")
	// ErrUnsupported: the token cannot do this with this key.
	ErrUnsupported = errors.New("the token does not support this")
	// ErrBadDigest: what is to be signed does not have the length of its hash; nothing was tried.
	ErrBadDigest = errors.New("the digest does not have the length of its hash")
	// ErrDecrypt: the token refuses this ciphertext, or this point. It is the same for whatever reason: more
	// would be of use to who tries ciphertexts.
	ErrDecrypt = errors.New("the token does not decrypt this")
	// ErrBadSignature: the token returned a signature that does not verify. It was not released.
	ErrBadSignature = errors.New("the token returned a signature that does not verify")
	// ErrTemplate: a key breaks the rules for private keys (invariant 7).
	ErrTemplate = errors.New("the key's attributes break the rules for private keys")
	// ErrWrongKey: the key on the token has another public half than the one that is expected.
	ErrWrongKey = errors.New("the key on the token is another one")
	// ErrPINBlocked: nobody logs in until the operator says so (invariant 9).
	ErrPINBlocked = errors.New("nobody logs in until the PIN is corrected and `keysetctl pin retry` (without a daemon: `keysetd check --retry-pin`) allows one more attempt")
	// ErrWrongSerial: the token with this label is another one than before.
	ErrWrongSerial = errors.New("the token's serial number is not the one remembered")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the token was closed")
)
