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
const Format = 1

// Document is what is known of one keyset. It is a value: whoever changes one clones it first.
type Document struct {
	// Format of this document in the store, now 1.
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
	// Served bounds how long any JWKS body served now stays fresh. A longer max-age is
	// written here before a page carries it, a shorter one after; so that whatever happens
	// between, and whatever the configuration says after a restart, no body outlives it.
	Served Freshness `json:"served,omitzero"`
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
	// guaranteed when it was retired. Zero before, and where it stays until revoked.
	RetainUntil time.Time `json:"retain_until,omitzero"`
}

// Key is one key pair of a generation.
type Key struct {
	Spec  keyspec.Spec `json:"spec"`
	Token string       `json:"token"` // the token's name in the configuration
	ID    []byte       `json:"id"`    // CKA_ID
	Label string       `json:"label"` // CKA_LABEL
	KID   string       `json:"kid"`
	// Public is PKIX DER.
	Public []byte `json:"public"`
	// Chain is X.509 DER, leaf first; empty where the keyset has no certificates.
	Chain [][]byte `json:"chain,omitempty"`
	// Lost is when a session proven logged in was seen not to find the private key; zero
	// while the key is there. A lost key stays published and does not sign.
	Lost time.Time `json:"lost,omitzero"`
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
	What       string    `json:"what"` // made, published, activated, retired, withdrawn, destroyed, abandoned, removed, lost, found
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
