package v1

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Bytes in bodies are base64url without padding (RFC 4648 §5); either alphabet, with or
// without padding, is read.

// JWTRequest is the body of POST /v1/keysets/NAME/jwt. Either Claims or SigningInput is set.
type JWTRequest struct {
	// Claims is a JSON object; its bytes become the payload as they are. (Encoders reformat
	// a raw value: whoever writes this body has to put the bytes in himself, as client does.)
	Claims jsontext.Value `json:"claims,omitzero"`
	// Header has further header parameters: "typ" (RFC 7515 §4.1.9), and those that the keyset allows. Not with SigningInput,
	// which has a header of its own.
	Header map[string]jsontext.Value `json:"header,omitempty"`
	// SigningInput is BASE64URL(header) "." BASE64URL(claims) (RFC 7515 §5.1).
	SigningInput string `json:"signing_input,omitempty"`
	// Alg may be left out where the keyset has a default.
	Alg string `json:"alg,omitempty"`
	// KID pins the key: the request fails with kid_not_active once it no longer signs.
	KID string `json:"kid,omitempty"`
}

// JWTReply answers it: Token for claims, Signature for a signing input.
type JWTReply struct {
	Token     string `json:"token,omitempty"`
	Signature string `json:"signature,omitempty"`
	KID       string `json:"kid"`
	Alg       string `json:"alg"`
}

// SignRequest is the body of POST /v1/keysets/NAME/sign. Exactly one of Payload and
// Digest is set.
type SignRequest struct {
	Alg string `json:"alg,omitempty"`
	// Payload is what keysetd hashes and signs; it may be empty.
	Payload *string `json:"payload,omitzero"`
	// Digest is a hash that the caller made, as long as the algorithm's; not for EdDSA,
	// which signs the message itself.
	Digest *string `json:"digest,omitzero"`
	// Encoding of an ECDSA signature: "jws" (r‖s, the default) or "der" (ASN.1, RFC 3279 §2.2.3).
	Encoding string `json:"encoding,omitempty"`
	// KID pins the key, as in JWTRequest.
	KID string `json:"kid,omitempty"`
}

// SignReply answers it.
type SignReply struct {
	Signature string `json:"signature"`
	KID       string `json:"kid"`
	Alg       string `json:"alg"`
}

// AcceptRequest is the body of POST /v1/tokens/NAME/accept.
type AcceptRequest struct {
	// Serial is the number that is accepted: the token's found_serial.
	Serial string `json:"serial"`
}

// KeysetList is the reply to GET /v1/keysets: the keysets that the caller may read.
type KeysetList struct {
	Keysets []Keyset `json:"keysets"`
	// Tokens tells how each token is.
	Tokens []Token `json:"tokens"`
	// Public is the address (HOST:PORT) of the public door on this host; absent where it is off.
	Public string `json:"public,omitempty"`
}

// Keyset is the reply to GET /v1/keysets/NAME.
type Keyset struct {
	Name    string `json:"name"`
	Purpose string `json:"purpose"`
	Mode    string `json:"mode"`
	Issuer  string `json:"issuer,omitempty"`
	// Ready: the keyset can sign now, as far as its keys go.
	Ready bool `json:"ready"`
	// Problem says in one line why not, or what else is wrong.
	Problem string `json:"problem,omitempty"`
	// Warnings are what somebody is to do before something is wrong, in one line each.
	Warnings []string `json:"warnings,omitempty"`
	// Algorithms that can be asked for now, the default first.
	Algorithms  []string     `json:"algorithms"`
	Generations []Generation `json:"generations"`
	// FrozenUntil is until when an operator has frozen it; absent where none has.
	FrozenUntil time.Time `json:"frozen_until,omitzero"`
	// Coming are algorithms that cannot be asked for yet, and from when on they can.
	Coming []Coming `json:"coming,omitempty"`
	// Revoked are the keys that were revoked last, newest first.
	Revoked []RevokedKey `json:"revoked,omitempty"`
	// NextRotation is when the pending generation is due to become active; absent where
	// the keyset rotates by hand.
	NextRotation time.Time `json:"next_rotation,omitzero"`
}

// Coming is an algorithm, or a kid of its own for one, that cannot be had yet.
type Coming struct {
	Algorithm string    `json:"algorithm"`
	At        time.Time `json:"at"`
}

// Generation is one generation of a keyset.
type Generation struct {
	Number int    `json:"number"`
	State  string `json:"state"`
	// Since is when it came into this state, Until when it is due to leave it.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
	Keys  []Key     `json:"keys"`
}

// Key is one key of a generation.
type Key struct {
	KID        string   `json:"kid"`
	Spec       string   `json:"spec"`
	Token      string   `json:"token"`
	ID         string   `json:"id"` // CKA_ID in hex
	Algorithms []string `json:"algorithms"`
	// Lost is since when the key is missing on its token; absent for one that is there.
	Lost time.Time `json:"lost,omitzero"`
	// NotAfter is the end of its certificate; absent where it has none.
	NotAfter time.Time `json:"not_after,omitzero"`
}

// Token tells how a token is.
type Token struct {
	Name   string `json:"name"`
	Up     bool   `json:"up"`
	Label  string `json:"label,omitempty"`
	Serial string `json:"serial,omitempty"`
	Model  string `json:"model,omitempty"`
	// FoundSerial is the serial number of a token that was refused because another is
	// remembered; absent otherwise.
	FoundSerial string `json:"found_serial,omitempty"`
	// Since is when it came up or went down.
	Since time.Time `json:"since,omitzero"`
	// Problem says what is wrong and what is being done about it; empty when up.
	Problem string `json:"problem,omitempty"`
}
