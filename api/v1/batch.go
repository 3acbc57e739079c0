package v1

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// ClientAssertionRequest is the body of POST /v1/keysets/NAME/client-assertion: a JWT by which
// a client authenticates at a token endpoint (RFC 7523 §3).
type ClientAssertionRequest struct {
	// ClientID becomes iss and sub.
	ClientID string `json:"client_id"`
	// Audience becomes aud: the authorization server's issuer or token endpoint.
	Audience string `json:"audience"`
	Alg      string `json:"alg,omitempty"`
	// KID pins the key, as in JWTRequest.
	KID string `json:"kid,omitempty"`
	// Lifetime is a Go duration, in whole seconds. Left out: 60s.
	Lifetime string `json:"lifetime,omitempty"`
}

// ClientAssertionReply answers it. Its first two members are the parameters of the token request
// (RFC 7521 §4.2).
type ClientAssertionReply struct {
	ClientAssertion     string    `json:"client_assertion"`
	ClientAssertionType string    `json:"client_assertion_type"`
	KID                 string    `json:"kid"`
	Alg                 string    `json:"alg"`
	ExpiresAt           time.Time `json:"expires_at"`
}

// BatchRequest is the body of POST /v1/keysets/NAME/batch: up to 256 items, 1 MiB together.
type BatchRequest struct {
	Items []BatchItem `json:"items"`
}

// BatchItem is one request of a batch. Exactly one member is set.
type BatchItem struct {
	JWT             *JWTRequest             `json:"jwt,omitzero"`
	Sign            *SignRequest            `json:"sign,omitzero"`
	ClientAssertion *ClientAssertionRequest `json:"client_assertion,omitzero"`
}

// BatchReply answers it, in the order of the items.
type BatchReply struct {
	Items []BatchResult `json:"items"`
}

// BatchResult is what became of one item: its reply, or an error.
type BatchResult struct {
	JWT             *JWTReply             `json:"jwt,omitzero"`
	Sign            *SignReply            `json:"sign,omitzero"`
	ClientAssertion *ClientAssertionReply `json:"client_assertion,omitzero"`
	Error           *Error                `json:"error,omitzero"`
}

// WhoAmI is the reply to GET /v1/whoami: who the kernel says the caller is, and what it is granted.
type WhoAmI struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	PID    int32    `json:"pid"`
	Groups []uint32 `json:"groups,omitempty"` // supplementary
	Grants []Grant  `json:"grants"`
}

// Grant is a caller of the configuration (a name under callers:) that the asking process is.
type Grant struct {
	Name       string   `json:"name"`
	Keysets    []string `json:"keysets"`
	Operations []string `json:"operations"`
	Algorithms []string `json:"algorithms,omitempty"`
	Types      []string `json:"types,omitempty"`
	ClientIDs  []string `json:"client_ids,omitempty"`
	Audiences  []string `json:"audiences,omitempty"`
	Claims     string   `json:"claims,omitempty"`
	Rate       float64  `json:"rate,omitzero"`
	Burst      int      `json:"burst,omitzero"`
	Priority   int      `json:"priority"`
}

// PolicyTestRequest is the body of POST /v1/policy-test: may somebody do this? It is judged as that
// request would be now. Nothing is signed, and no rate is used up.
type PolicyTestRequest struct {
	// UID and GID, the primary group, of the user that is asked about. Both are required: left out
	// they would be root's.
	UID *uint32 `json:"uid,omitzero"`
	GID *uint32 `json:"gid,omitzero"`
	// Groups are its supplementary groups.
	Groups    []uint32 `json:"groups,omitempty"`
	Operation string   `json:"operation"`
	// Keyset may be left out for operation admin only.
	Keyset string `json:"keyset,omitempty"`
	Alg    string `json:"alg,omitempty"`
	// Typ and Claims are for operation jwt. Claims left out are those of a token that lives for a minute.
	Typ    string         `json:"typ,omitempty"`
	Claims jsontext.Value `json:"claims,omitzero"`
	// ClientID, Audience and Lifetime are for operation client-assertion, as in ClientAssertionRequest.
	ClientID string `json:"client_id,omitempty"`
	Audience string `json:"audience,omitempty"`
	Lifetime string `json:"lifetime,omitempty"`
}

// PolicyTestReply answers it.
type PolicyTestReply struct {
	Granted bool `json:"granted"`
	// Rule is the caller (its name under callers:) that grants it. Empty where root or the daemon's own
	// user reads without one.
	Rule string `json:"rule,omitempty"`
	// Reason is why it would be refused, with the reason word before it unless that is not_granted.
	Reason string `json:"reason,omitempty"`
}
