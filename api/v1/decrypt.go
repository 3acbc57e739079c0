package v1

import "github.com/go-json-experiment/json/jsontext"

// DecryptRequest asks a keyset that decrypts for what was encrypted to it (RFC 7516): a whole
// message, or for a program that decrypts the content itself the content encryption key
// alone. Exactly one of JWE and Header.
type DecryptRequest struct {
	// JWE in compact form.
	JWE string `json:"jwe,omitempty"`
	// Header of the message, as it is protected: its alg, enc, and with ECDH-ES its epk, apu and apv
	// are used.
	Header jsontext.Value `json:"header,omitzero"`
	// EncryptedKey is the message's second part, in base64url; empty with ECDH-ES. Only beside Header.
	EncryptedKey string `json:"encrypted_key,omitempty"`
}

// DecryptReply answers it.
type DecryptReply struct {
	// Plaintext of the message, in base64url without padding; absent where a key was asked for.
	Plaintext *string `json:"plaintext,omitzero"`
	// Key is the content encryption key, in base64url without padding, where that was asked
	// for. Where the encrypted key was not for this keyset it is random, and the content
	// will not decrypt with it (RFC 7516 §11.5).
	Key string `json:"key,omitempty"`
	// Header of the message, as it came.
	Header jsontext.Value `json:"header"`
	// KID of the key that decrypted.
	KID string `json:"kid"`
}

// ActiveKey is the public half of the key that a keyset uses now for one algorithm.
type ActiveKey struct {
	KID string `json:"kid"`
	Alg string `json:"alg"`
	// JWK is the key as the JWKS has it (RFC 7517 §4), with x5c where it has a certificate.
	JWK jsontext.Value `json:"jwk"`
}
