package config

import (
	"slices"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/signing/policy"
)

// Caller is a grant to one local user, or to the members of a group. It is judged whole: it
// covers a request if all of its fields do. Package policy says what the kernel tells of
// callers, in containers too.
type Caller struct {
	// UID of the user, 0 to 4294967294. Exactly one of uid, user, gid and group is given.
	UID *uint32 `yaml:"uid"`
	// User is the name of the user, looked up once when the file is read; UID then has the
	// answer.
	User string `yaml:"user"`
	// GID of a group, 0 to 4294967294: of whoever has it as primary or supplementary group.
	GID *uint32 `yaml:"gid"`
	// Group is the name of the group, looked up once when the file is read; GID then has the
	// answer.
	Group string `yaml:"group"`
	// Keysets that are granted, or "*" for all. Required.
	Keysets []string `yaml:"keysets,all"`
	// Operations that are granted: jwt, sign and client-assertion; decrypt, on enc keysets; read, which shows state, plan and
	// history; rotate, revoke, freeze (and thaw), the operator's acts; certificate, which shows requests for
	// certificates and takes the answers; admin, for what concerns the
	// daemon and its tokens. Or "*" for all, those of later versions included. Required. Whoever is
	// limited by types, client_ids, audiences or claims has no sign on the same keyset, if its purpose
	// serves sign.
	Operations []policy.Operation `yaml:"operations,all"`
	// Algorithms that are granted to sign with, or "*" for all. Required with operations
	// that sign.
	Algorithms []jose.SignatureAlgorithm `yaml:"algorithms,all"`
	// Types are the typ values that tokens and assertions may have, compared as a keyset's. Left
	// out: all that the keyset allows.
	Types []string `yaml:"types"`
	// ClientIDs that client assertions may be made for, or "*" for all. Required with that
	// operation.
	ClientIDs []string `yaml:"client_ids,all"`
	// Audiences that tokens and assertions may be for: aud must name one, and none but these. Left
	// out: any, and none.
	Audiences []string `yaml:"audiences"`
	// Claims is an expression in CEL that must be true for tokens and assertions, on one line or
	// several ("|"). It sees claims and header (maps, JSON numbers that are whole are int), caller
	// (uid, gid, pid, groups) and now (int, seconds since 1970); an error denies. Left out: none.
	Claims Expression `yaml:"claims"`
	// Rate is how many signatures and decryptions a second all who come by this grant may make
	// together, up to 1000000; it may have a fraction. Left out: no limit, but 20 decryptions a second
	// and 40 at once.
	Rate float64 `yaml:"rate"`
	// Burst is how many of them may follow each other at once, 1 to 1000000. Left out: what rate
	// gives in a second, at least 1.
	Burst int `yaml:"burst"`
	// Priority at the token from 0 to 9, highest first; callers of one priority share evenly. Left
	// out: 5.
	Priority int `yaml:"priority"`
}

// Expression is text in CEL, which may have several lines.
type Expression string

func (c *Caller) setDefaults() { c.Priority = 5 }

// grants reports whether one of these operations is granted.
func (c *Caller) grants(ops ...policy.Operation) bool {
	return slices.ContainsFunc(c.Operations, func(o policy.Operation) bool { return o == policy.All || slices.Contains(ops, o) })
}
