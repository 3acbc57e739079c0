package v1

import "time"

// The operator's acts on a keyset. Each may be sent again after a lost reply: what is done
// already is done, and is no error.

// RotateRequest is the body of POST /v1/keysets/NAME/rotate.
type RotateRequest struct {
	// KID is the key that is to sign no longer. Once it does not, the act is done: with it
	// the request can be repeated. Left out: whichever key signs now.
	KID string `json:"kid,omitempty"`
	// Reason stands in the history.
	Reason string `json:"reason,omitempty"`
}

// RevokeRequest is the body of POST /v1/keysets/NAME/revoke.
type RevokeRequest struct {
	// KID of the key, or one of its kids where it has several. Either KID or All is given.
	KID string `json:"kid,omitempty"`
	// All revokes every key of the keyset.
	All bool `json:"all,omitzero"`
	// Through is the newest generation that All is about, so that the request can be
	// repeated: what was made since stays. Left out: whatever there is.
	Through int `json:"through,omitzero"`
	// Reason stands in the history. Required.
	Reason string `json:"reason"`
	// AcceptUnpublished lets the next key sign although verifiers may not know it yet. Without
	// it the keyset does not sign until they do.
	AcceptUnpublished bool `json:"accept_unpublished,omitzero"`
	// KeepObject leaves the key on the token, where it would be destroyed.
	KeepObject bool `json:"keep_object,omitzero"`
}

// FreezeRequest is the body of POST /v1/keysets/NAME/freeze.
type FreezeRequest struct {
	// Until when nothing is activated on schedule and nothing leaves the page.
	Until  time.Time `json:"until"`
	Reason string    `json:"reason,omitempty"`
}

// ThawRequest is the body of POST /v1/keysets/NAME/thaw.
type ThawRequest struct {
	Reason string `json:"reason,omitempty"`
}

// ActReply answers rotate, revoke, freeze, thaw and certificate: the keyset's new state.
type ActReply struct {
	Keyset Keyset `json:"keyset"`
	// Revoked tells of the keys that this act revoked, or that were revoked before; of revoke only.
	Revoked []RevokedKey `json:"revoked,omitempty"`
	// AcceptedUntil is until when caches may still hold a page with the revoked keys.
	AcceptedUntil time.Time `json:"accepted_until,omitzero"`
	// RefusedUntil is until when caches may hold a page without the key that signs now; absent
	// where every verifier can know it.
	RefusedUntil time.Time `json:"refused_until,omitzero"`
}

// RevokedKey is a key that was revoked.
type RevokedKey struct {
	KID string    `json:"kid"`
	At  time.Time `json:"at"`
	// By is who revoked it, Reason why.
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Kept: the object stays on the token, because the operator wanted it or since it is not keysetd's.
	Kept bool `json:"kept,omitzero"`
}

// Plan is the reply to GET /v1/keysets/NAME/plan: what will happen if nothing else does.
type Plan struct {
	Steps []PlannedStep `json:"steps"`
}

// PlannedStep is one step to come.
type PlannedStep struct {
	At         time.Time `json:"at"`
	Step       string    `json:"step"`
	Generation int       `json:"generation,omitzero"`
	Reason     string    `json:"reason"`
}

// History is the reply to GET /v1/keysets/NAME/history: what was, oldest first.
type History struct {
	Events []Event `json:"events"`
}

// Event is one line of a keyset's history.
type Event struct {
	At         time.Time `json:"at"`
	What       string    `json:"what"`
	Generation int       `json:"generation,omitzero"`
	KIDs       []string  `json:"kids,omitempty"`
	// By is "schedule", or the operator's uid as "uid 1001".
	By  string `json:"by"`
	Why string `json:"why,omitempty"`
}

// ReloadRequest is the body of POST /v1/reload.
type ReloadRequest struct {
	// DryRun tells what would change and changes nothing.
	DryRun bool `json:"dry_run,omitzero"`
	// Remove names keysets that are no longer in the file and are to go: they sign no
	// longer, and leave the page once nothing that they signed is valid.
	Remove []string `json:"remove,omitempty"`
}

// ReloadReply answers it.
type ReloadReply struct {
	// Applied is false for a dry run.
	Applied bool           `json:"applied"`
	Changes []KeysetChange `json:"changes"`
}

// KeysetChange is what a configuration changes for one keyset, or, without Keyset, for all.
type KeysetChange struct {
	Keyset string `json:"keyset,omitempty"`
	// Change in one line, as in "p-256 is added: pending now, signs from …".
	Change string `json:"change"`
	// At is when it takes effect for callers; absent where it does at once or by hand.
	At time.Time `json:"at,omitzero"`
}
