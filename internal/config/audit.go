package config

import (
	"maps"
	"slices"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// AuditKeyset is the keyset that signs the audit log's checkpoints. It is on a token like the others,
// and in no configuration, on no page and at no door.
const AuditKeyset = "audit"

// Audit is where acts are written down.
type Audit struct {
	// Path of the log, lines of JSON. Left out: /var/log/keysetd/audit.jsonl.
	Path string `yaml:"path"`
	// Sync is second or always: when lines are brought to the disk. Left out: second; a
	// power cut may then lose the last second.
	Sync audit.Sync `yaml:"sync"`
	// Token that the keys are made on that sign checkpoints, by name. Left out: default, or the
	// first by name.
	Token string `yaml:"token"`
	// Key is the spec of those keys. Left out: p-256.
	Key keyspec.Spec `yaml:"key"`
	// Period is how long one of them is used, at least 1m. Left out: 90d.
	Period time.Duration `yaml:"period"`
}

func (a *Audit) setDefaults() {
	a.Path = "/var/log/keysetd/audit.jsonl"
	a.Sync = audit.SyncSecond
	a.Key = keyspec.P256
	a.Period = 90 * 24 * time.Hour
}

func (a *Audit) check(src *source, store string, tokens map[string]Token) error {
	at := root.join("audit")
	a.Path = src.abs(a.Path)
	names := slices.Sorted(maps.Keys(tokens))
	_, named := tokens[a.Token]
	_, usual := tokens[DefaultToken]
	switch {
	case store == a.Path:
		return src.fail(at.join("path"), "is the store's path; each needs a file of its own")
	case a.Period < time.Minute:
		return src.fail(at.join("period"), "must be at least 1m")
	case a.Token == "" && usual:
		a.Token = DefaultToken
	case a.Token == "":
		a.Token = names[0]
	case !named:
		return src.fail(at.join("token"), "is not the name of a token; the tokens are %s", join(names))
	}
	return nil
}

// Policy is how the keys that sign checkpoints are replaced. Nobody fetches them, so none has to
// be known for long before it signs.
func (a Audit) Policy() rotation.Policy {
	overlap := min(a.Period/2, time.Hour)
	return rotation.Policy{
		Specs: []keyspec.Spec{a.Key}, Token: a.Token, Usage: hsm.Sign,
		Period: a.Period, Lead: overlap, Retain: overlap,
	}.WithDefaults().Spread(AuditKeyset)
}
