// Package rotation decides when the keys of a keyset are made, used, retired and
// destroyed, and does it.
//
// The decision is a pure function, Plan. The Manager carries its steps out: each is
// an intent in the Store, an effect on the token, and a result in the Store. Readers
// see the result as an immutable Snapshot.
//
// A dynamic keyset is a pipe of generations:
//
//	(making) → pending → active → retired → (destroyed)
//	           published  signs    published  gone from page, token and document
package rotation

import (
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// State of a generation.
type State string

// The states of a live generation. A destroyed or revoked one is not live: it is in the history.
const (
	Pending State = "pending" // published, not yet signing
	Active  State = "active"  // signing
	Retired State = "retired" // published, no longer signing
)

// Format of the documents that this version writes and reads.
const Format = 2

// Document is what is known of one keyset. It is a value: whoever changes one clones it first.
type Document struct {
	// Format of this document in the store.
	Format int    `json:"format"`
	Keyset string `json:"keyset"`
	// Last is the highest generation number ever given, also to attempts that failed.
	Last int `json:"last"`
	// Generations that are live, by ascending number.
	Generations []Generation `json:"generations"`
	// Intents are effects on the token that have begun and of whose end nothing is known.
	Intents []Intent `json:"intents,omitempty"`
	// Abandoned are attempts to make a key that were swept, and that the token may finish yet.
	Abandoned []Abandoned `json:"abandoned,omitempty"`
	// StaleUntil is the instant until which a JWKS body served before the newest change of
	// the page can still be taken for fresh by anybody: the time of that change, and the
	// max-age, clock skew and verifier cache in force before it. A change is one that put
	// keys on the page, or that changed how long it stays fresh. Zero: no JWKS body of this
	// keyset was ever served.
	StaleUntil time.Time `json:"stale_until,omitzero"`
	// StaleSince is when StaleUntil was put down.
	StaleSince time.Time `json:"stale_since,omitzero"`
	// Served bounds how long any JWKS body served now stays fresh. A longer max-age is
	// written here before a page carries it, a shorter one after; so that whatever happens
	// between, and whatever the configuration says after a restart, no body outlives it.
	Served Freshness `json:"served,omitzero"`
	// Entries are the algorithms for which RSA keys are published once more under a kid of
	// their own, in the order in which they came.
	Entries []Entry `json:"entries,omitempty"`
	// Revoked are the keys that were revoked, oldest first. They stay: none of them may come
	// back (invariant 6).
	Revoked []Revocation `json:"revoked,omitempty"`
	// FrozenUntil is until when an operator wants nothing activated on schedule and nothing
	// taken off the page. Zero or past: it is not frozen.
	FrozenUntil time.Time `json:"frozen_until,omitzero"`
	// AcceptUnpublished: an operator accepted that the next generation signs before verifiers
	// surely know it. It is spent by that generation's activation.
	AcceptUnpublished bool `json:"accept_unpublished,omitzero"`
	// Allowance is the state of the limit on rotations by hand (see limit.go).
	Allowance time.Time `json:"allowance,omitzero"`
	// Removed is when an operator removed the keyset: nothing of it signs any more, and its keys go
	// as they would. Zero: it was not. What is left in the end keeps its numbers from being used again.
	Removed time.Time `json:"removed,omitzero"`
	// Farewell is the policy by which the keyset's keys go once it is removed: that of the configuration
	// as it was last. A keyset may vanish from that before it is removed.
	Farewell *Farewell `json:"farewell,omitempty"`
}

// Farewell is what is still needed of the policy of a keyset that is removed.
type Farewell struct {
	Retain       time.Duration `json:"retain_ns"`
	UntilRevoked bool          `json:"until_revoked,omitzero"`
	Served       Freshness     `json:"served"`
}

// Entry is an algorithm for which the RSA keys of a keyset have a kid of their own. It is new to
// verifiers like a key, and leaves like one: while it is not active, its algorithm is
// signed under the key's own kid.
type Entry struct {
	Algorithm   jose.SignatureAlgorithm `json:"algorithm"`
	State       State                   `json:"state"`
	Published   time.Time               `json:"published,omitzero"`
	UsableFrom  time.Time               `json:"usable_from,omitzero"`
	Retired     time.Time               `json:"retired,omitzero"`
	RetainUntil time.Time               `json:"retain_until,omitzero"`
}

// Revocation is a key that was revoked.
type Revocation struct {
	KID        string       `json:"kid"`
	Spec       keyspec.Spec `json:"spec"`
	Generation int          `json:"generation"`
	Token      string       `json:"token"`
	ID         []byte       `json:"id"`
	Label      string       `json:"label"`
	Public     []byte       `json:"public"` // PKIX DER
	At         time.Time    `json:"at"`
	By         string       `json:"by"`
	Why        string       `json:"why"`
	// AcceptedUntil is until when a page that was served before may be fresh, and show the key.
	AcceptedUntil time.Time `json:"accepted_until,omitzero"`
	// Kept: its object is left on the token.
	Kept bool `json:"kept,omitzero"`
}

// Freshness is how long a JWKS body may be used after it was served.
type Freshness struct {
	// MaxAge of the page's Cache-Control (RFC 9111 §5.2.2.1).
	MaxAge time.Duration `json:"max_age_ns"`
	// ClockSkew and VerifierCache are what the configuration said of verifiers.
	ClockSkew     time.Duration `json:"clock_skew_ns"`
	VerifierCache time.Duration `json:"verifier_cache_ns"`
}

// Reach is the whole of it: a body served before t is not used at t+Reach, nor later
// (at an age equal to its lifetime a response is stale, RFC 9111 §4.2).
func (f Freshness) Reach() time.Duration { return f.MaxAge + f.slack() }

// slack is the part that is not ours to choose.
func (f Freshness) slack() time.Duration { return f.ClockSkew + f.VerifierCache }

// Generation is the keys of a keyset that were made together, one for each key spec.
type Generation struct {
	Number int   `json:"number"`
	State  State `json:"state"`
	Keys   []Key `json:"keys"`
	// Static: these are keys of the administrator's. keysetd neither makes nor destroys them.
	Static bool `json:"static,omitzero"`
	// Lifetime is the longest that a token which one of its keys signed could live without a watermark. It
	// is written here before the first such token is signed. Where others encrypt to the keys, it is
	// how old a message may be.
	Lifetime time.Duration `json:"lifetime_ns,omitzero"`
	// Dismissed: the configuration wanted it no longer, before it ever signed.
	Dismissed bool `json:"dismissed,omitzero"`
	// Revoked are the kids of those of its keys that were revoked. It is impaired by that.
	Revoked []string `json:"revoked,omitempty"`
	// Scheduled is when by the calendar it was to become active: its period counts from there, so that
	// small delays do not add up; zero before.
	Scheduled time.Time `json:"scheduled,omitzero"`
	// Made is when the keys were complete on the token.
	Made time.Time `json:"made"`
	// Published is when the page with them was swapped in; zero until it was.
	Published time.Time `json:"published,omitzero"`
	// UsableFrom is the first instant at which no JWKS body without these keys can be
	// fresh (invariant 1); set together with Published.
	UsableFrom time.Time `json:"usable_from,omitzero"`
	Activated  time.Time `json:"activated,omitzero"`
	// Retired is when signing had moved on to its successor; in state retired zero until
	// that swap was seen to succeed, since until then this generation may sign.
	Retired time.Time `json:"retired,omitzero"`
	// RetainUntil is the earliest instant at which a retired generation may go, as
	// guaranteed when it was retired, its watermark aside. Zero before, where it stays until
	// revoked, and while the configuration names one of its keys as previous.
	RetainUntil time.Time `json:"retain_until,omitzero"`
}

// Key is one key pair of a generation. A static key may be of several generations, where a later one
// changes other key types only.
type Key struct {
	Spec  keyspec.Spec `json:"spec"`
	Token string       `json:"token"` // the token's name in the configuration
	ID    []byte       `json:"id"`    // CKA_ID
	Label string       `json:"label"` // CKA_LABEL
	KID   string       `json:"kid"`
	// Usage is the one thing the key is for. Empty: sign.
	Usage hsm.Usage `json:"usage,omitempty"`
	// Public is PKIX DER.
	Public []byte `json:"public"`
	// Chain is X.509 DER, leaf first; empty where the keyset has no certificates.
	Chain [][]byte `json:"chain,omitempty"`
	// Certified is what is known of Chain.
	Certified Certified `json:"certified,omitzero"`
	// Lost is when a session proven logged in was seen not to find the private key; zero
	// while the key is there. A lost key stays published and does not sign.
	Lost time.Time `json:"lost,omitzero"`
}

// Certified is what is known of a key's chain. All of it is zero where there is none, except Renewed.
type Certified struct {
	// NotBefore and NotAfter are between which all certificates of the chain are valid (RFC 5280
	// §4.1.2.5); zero where nobody can tell.
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// Final: the issuer gave it a nearer end than was asked for, and most likely has no later one
	// to give.
	Final bool `json:"final,omitzero"`
	// Shown is when the page with it was swapped in, where its generation waits for that; else,
	// and until then, zero.
	Shown time.Time `json:"shown,omitzero"`
	// UsableFrom is the first instant at which no JWKS body without it can be fresh; set together
	// with Shown.
	UsableFrom time.Time `json:"usable_from,omitzero"`
	// Renewed is when its issuer was asked for another one last.
	Renewed time.Time `json:"renewed,omitzero"`
}

// IntentKind says what an intent was about to do.
type IntentKind string

// The kinds of intent.
const (
	// Generate: key pairs with these CKA_IDs may or may not be on the token.
	Generate IntentKind = "generate"
	// Destroy: the objects with these CKA_IDs are to go, and some may be gone.
	Destroy IntentKind = "destroy"
)

// Intent is written before an effect on a token and removed once its result is known.
type Intent struct {
	Kind       IntentKind `json:"kind"`
	Generation int        `json:"generation"`
	At         time.Time  `json:"at"`
	Objects    []Attempt  `json:"objects"`
	// Revoked: some of the keys to be destroyed were revoked, so it waits for no clock.
	Revoked bool `json:"revoked,omitzero"`
}

// Attempt names one key pair that an intent is about, or an attempt to make one.
type Attempt struct {
	Token string       `json:"token"`
	Spec  keyspec.Spec `json:"spec"`
	ID    []byte       `json:"id"`
	Label string       `json:"label"`
	KID   string       `json:"kid,omitempty"`
}

// Event is one line of a keyset's history. It is written in the same transaction as
// the document that it tells of.
type Event struct {
	At         time.Time `json:"at"`
	What       string    `json:"what"` // see event.go
	Generation int       `json:"generation"`
	KIDs       []string  `json:"kids,omitempty"`
	By         string    `json:"by"` // "schedule", or the operator
	Why        string    `json:"why,omitempty"`
}

// Versioned is a document and the version under which the store holds it.
type Versioned struct {
	Document
	Version uint64
}
