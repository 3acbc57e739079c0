package rotation

import (
	"fmt"
	"time"
)

// Act says who does something by hand, and why; both stand in the history.
type Act struct {
	By  string // "uid 1001"
	Why string
	// KID makes a rotation repeatable: it is done once this key signs no longer. Empty: the key
	// that signs now.
	KID string
}

// RevokeAct says which keys are to be revoked.
type RevokeAct struct {
	Act // KID: one of the kids of the key; empty with All
	All bool
	// Through is the newest generation that All is about: those made later stay, so that it
	// can be repeated. 0: all there are.
	Through int
	// AcceptUnpublished lets the next generation sign although verifiers may not know it yet.
	AcceptUnpublished bool
	// KeepObject leaves the key on the token.
	KeepObject bool
}

// Revoked is what became of a revocation.
type Revoked struct {
	// Keys that are revoked by it, or were before; newest last.
	Keys []Revocation
	// AcceptedUntil is until when a cached page may still show them as good.
	AcceptedUntil time.Time
	// RefusedUntil is until when a cached page may lack the key that signs now; zero where every
	// verifier can know it.
	RefusedUntil time.Time
}

// RefusalKind tells refusals of an act apart.
type RefusalKind string

// The kinds of refusal.
const (
	RefusedNotYet        RefusalKind = "not_yet"      // At tells from when on it may be
	RefusedRateLimited   RefusalKind = "rate_limited" // At tells the next possible time
	RefusedFrozen        RefusalKind = "frozen"       // At tells until when
	RefusedUnknownKeyset RefusalKind = "keyset_unknown"
	RefusedUnknownKID    RefusalKind = "kid_unknown"
	RefusedBadRequest    RefusalKind = "bad_request"
)

// Refusal is why an act was not done. Detail is one sentence for the operator: what was
// asked, why not, what to do next, with the times in it.
type Refusal struct {
	Kind   RefusalKind
	Detail string
	At     time.Time // zero where no time is known
}

func (r *Refusal) Error() string { return r.Detail }

func refusal(kind RefusalKind, at time.Time, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, At: at, Detail: fmt.Sprintf(format, args...)}
}

// Forecast is a step that will be due, if nothing happens but what Plan wants and all of it
// succeeds at once.
type Forecast struct {
	At time.Time
	Step
}
