package v1

import "time"

// KeyList is the reply to GET /v1/keysets/NAME/keys.
type KeyList struct {
	// Keys are the active ones first, then the pending, the retired, and of the revoked the newest first.
	Keys []ListedKey `json:"keys"`
}

// ListedKey is one key with its certificate. Except for Spec, Generation and State the members are
// named as those of a signing key in Auth0's Management API. Of Current, Next, Previous and Revoked
// one is true. What is of the certificate is empty where the key has none that is valid.
type ListedKey struct {
	KID string `json:"kid"`
	// Current: it is in use.
	Current bool `json:"current"`
	// Next: it is to be in use next.
	Next bool `json:"next"`
	// Previous: it is in use no longer, and what was made with it still counts.
	Previous bool `json:"previous"`
	// CurrentSince is since when it is in use, or was; absent where it never was, and of a revoked key.
	CurrentSince time.Time `json:"current_since,omitzero"`
	// CurrentUntil is when it ceased to be; absent where it has not. Plan tells when it is due to.
	CurrentUntil time.Time `json:"current_until,omitzero"`
	// Cert is its own certificate in PEM (RFC 7468 §5).
	Cert string `json:"cert,omitempty"`
	// PKCS7 is the whole chain, as PKCS #7 in PEM (RFC 7468 §8).
	PKCS7 string `json:"pkcs7,omitempty"`
	// Fingerprint is the certificate's SHA-1 in upper-case hexadecimal with colons.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Thumbprint is the same without colons.
	Thumbprint string `json:"thumbprint,omitempty"`
	// Revoked: it was revoked, and has no certificate any more.
	Revoked bool `json:"revoked"`
	// RevokedAt is when; absent where it was not.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Spec      string    `json:"spec"`
	// Generation is the number of the one that it is of, of several the one by which it has its state.
	Generation int `json:"generation"`
	// State is active, pending, retired or revoked.
	State string `json:"state"`
}
