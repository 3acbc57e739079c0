// Package v1 is what travels over the local socket: the JSON bodies, and the reason
// words that an error carries in every language of the door.
package v1

// Reason is the word by which a program tells errors apart. The words are stable.
type Reason string

// The reasons. Reasons lists them all.
const (
	// BadRequest: the body is not what this operation takes.
	BadRequest Reason = "bad_request"
	// BadClaims: the claims are no JSON object or break a rule for claims.
	BadClaims Reason = "bad_claims"
	// BadHeader: a header parameter that the caller may not set, or a value it must not have.
	BadHeader Reason = "bad_header"
	// BadSigningInput: what was sent is no JWS signing input for this keyset.
	BadSigningInput Reason = "bad_signing_input"
	// BadDigest: the digest's length is not that of the algorithm's hash.
	BadDigest Reason = "bad_digest"
	// LifetimeTooLong: exp is further away than this keyset guarantees to publish the key.
	LifetimeTooLong Reason = "lifetime_too_long"
	// IssuerMismatch: iss is not the keyset's issuer.
	IssuerMismatch Reason = "issuer_mismatch"
	// TooLarge: the body exceeds its limit.
	TooLarge Reason = "too_large"
	// NotFound: no such path.
	NotFound Reason = "not_found"
	// MethodNotAllowed: the path exists, but not for this method.
	MethodNotAllowed Reason = "method_not_allowed"
	// UnsupportedMediaType: the body is not application/json.
	UnsupportedMediaType Reason = "unsupported_media_type"
	// KeysetUnknown: no keyset of this name is configured.
	KeysetUnknown Reason = "keyset_unknown"
	// AlgorithmUnavailable: the keyset has no active key for this algorithm.
	AlgorithmUnavailable Reason = "algorithm_unavailable"
	// KidNotActive: the key with this kid does not sign, or no longer.
	KidNotActive Reason = "kid_not_active"
	// PurposeMismatch: the keyset's purpose does not allow this operation.
	PurposeMismatch Reason = "purpose_mismatch"
	// NotGranted: the configuration does not grant this caller this act.
	NotGranted Reason = "not_granted"
	// NotReady: the keyset has no key that may sign yet.
	NotReady Reason = "not_ready"
	// Unavailable: the token cannot be reached; try again later.
	Unavailable Reason = "unavailable"
	// Overloaded: a queue is full; try again after the time given.
	Overloaded Reason = "overloaded"
	// DeadlineExceeded: the caller's time ran out before the token answered.
	DeadlineExceeded Reason = "deadline_exceeded"
	// NotYet: the key that would sign next may not sign yet; the error tells from when.
	NotYet Reason = "not_yet"
	// RateLimited: more of these than the configuration allows; the error tells when the next one is.
	RateLimited Reason = "rate_limited"
	// Frozen: an operator froze the keyset.
	Frozen Reason = "frozen"
	// KidUnknown: no live key of the keyset has this kid.
	KidUnknown Reason = "kid_unknown"
	// BadConfiguration: the configuration file does not load, or asks for what a reload cannot do.
	BadConfiguration Reason = "bad_configuration"
	// DecryptionFailed: the message is not for this keyset, or is no whole and true JWE. It never
	// says which (RFC 7516 §11.5).
	DecryptionFailed Reason = "decryption_failed"
	// AuditFailed: the audit log cannot be written, so nothing is signed.
	AuditFailed Reason = "audit_failed"
	// Internal: a fault of keysetd's own; the log has more.
	Internal Reason = "internal"
)

// Reasons returns every reason, so that tables over them can be tested for gaps.
func Reasons() []Reason {
	return []Reason{
		BadRequest, BadClaims, BadHeader, BadSigningInput, BadDigest, LifetimeTooLong, IssuerMismatch,
		TooLarge, NotFound, MethodNotAllowed, UnsupportedMediaType, KeysetUnknown, AlgorithmUnavailable,
		KidNotActive, PurposeMismatch, NotGranted, NotReady, Unavailable, Overloaded, DeadlineExceeded,
		NotYet, RateLimited, Frozen, KidUnknown, BadConfiguration, DecryptionFailed, AuditFailed, Internal,
	}
}

// Error is a failure as the caller sees it. Detail is one sentence that says what was
// being done, to what, and what to do next; it holds no secret.
type Error struct {
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`
	// Field names the member of the request that is at fault, as a JSON pointer; may be empty.
	Field string `json:"field,omitempty"`
	// RetryAfterMillis tells when asking again may work; 0 where it is not known.
	RetryAfterMillis int64 `json:"retry_after_ms,omitzero"`
	// Cause is for the log and never leaves the daemon.
	Cause error `json:"-"`
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

// Is reports whether target is the bare error of e's reason: an Error without detail
// stands for all that have its reason, so that errors.Is(err, client.ErrNotGranted) holds.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Detail == "" && t.Reason == e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
