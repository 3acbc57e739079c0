package config

import (
	"github.com/go-jose/go-jose/v4"

	"keysetd.example/signing/policy"
)

// Caller is a grant to one local user. It is judged whole: it covers a request if its
// uid, its keysets, its operations and its algorithms all do.
type Caller struct {
	// UID of the user, 0 to 4294967294. Exactly one of uid and user is given.
	UID *uint32 `yaml:"uid"`
	// User is the name of the user, looked up once when the file is read; UID then has the
	// answer.
	User string `yaml:"user"`
	// Keysets that are granted, or "*" for all. Required.
	Keysets []string `yaml:"keysets,all"`
	// Operations that are granted: jwt and sign; read, which shows state, plan and history;
	// rotate, revoke, freeze (and thaw), the operator's acts; admin, for what concerns the daemon and its tokens.
	// Or "*" for all, those of later versions included. Required.
	Operations []policy.Operation `yaml:"operations,all"`
	// Algorithms that are granted to sign with, or "*" for all. Required with operations
	// that sign.
	Algorithms []jose.SignatureAlgorithm `yaml:"algorithms,all"`
}

// What design.md has and this version does not. A limit or a right that nothing enforces
// must not be accepted, so these are refused as what they are and not as unknown.

func (*Caller) later() map[string]string {
	return map[string]string{
		"claims": "rules for claims are not available in this version, and a limit that is not enforced is not accepted; leave it out and grant less",
		"gid":    "grants to groups are not available in this version; use uid or user",
		"group":  "grants to groups are not available in this version; use uid or user",
	}
}
