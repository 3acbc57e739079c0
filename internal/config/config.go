// Package config reads keysetd's configuration file.
//
// The file is one document of YAML, read strictly: an unknown field, a wrong type, a
// duplicate key, an anchor or a second document is an error, and so is a right or a limit
// that this version would not enforce. Every error is one line, "FILE:LINE:COL: field:
// what is wrong and what would be right", and never repeats a value, for any value may
// turn out to be a secret that was put in the wrong place.
//
// Durations are Go's ("90s", "12h") or days ("0.5d", "7d"). Relative paths are relative to
// the directory of the file. example.yaml shows every field.
package config

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"keysetd.example/signing/policy"
)

// DefaultToken is the name of the token that `token:` describes.
const DefaultToken = "default"

// Config is a configuration that holds together, with defaults filled in.
type Config struct {
	// Token is short for tokens: {default: ...}. Exactly one of token and tokens is
	// given. After Parse it is nil, and Tokens has it.
	Token *Token `yaml:"token"`
	// Tokens by name. A name is of letters, digits, "." "_" "-", at most 63.
	Tokens map[string]Token `yaml:"tokens"`
	// Store is where the state is kept. Left out: see its fields.
	Store Store `yaml:"store"`
	// Audit is where acts are written down. Left out: see its fields.
	Audit Audit `yaml:"audit"`
	// Listen is where requests come in. Left out: see its fields.
	Listen Listen `yaml:"listen"`
	// PublicURL is what the world calls listen.public: http or https, without a slash at
	// its end. Left out: http:// and the address of listen.public.
	PublicURL string `yaml:"public_url"`
	// CertificateAuthorities by name, for keysets whose certificates they issue. A name is of letters,
	// digits, "." "_" "-", at most 63. Left out: none.
	CertificateAuthorities map[string]CertificateAuthority `yaml:"certificate_authorities"`
	// Keysets by name; at least one. A name is of letters, digits, "." "_" "-", at most 63;
	// "audit" is reserved.
	Keysets map[string]Keyset `yaml:"keysets"`
	// Callers by a name that is for people. Left out: nobody may sign. Several callers that
	// are one process add up: each is a grant of its own and is judged whole.
	Callers map[string]Caller `yaml:"callers"`

	single bool `yaml:"-"` // the file has token and not tokens
}

// Store is where the state is kept.
type Store struct {
	// Path of the database. Left out: /var/lib/keysetd/state.db.
	Path string `yaml:"path"`
}

func (s *Store) setDefaults() { s.Path = "/var/lib/keysetd/state.db" }

// Options say how a file is to be taken.
type Options struct {
	// Dev accepts what only `keysetd dev` may use: a PIN from the environment.
	Dev bool
	// LookupUser returns the uid of a user name. Nil: the system's user database.
	LookupUser func(name string) (uint32, error)
	// LookupGroup returns the gid of a group name. Nil: the system's group database.
	LookupGroup func(name string) (uint32, error)
	// ReadFile returns the content of the file at an absolute path, for what the configuration
	// names and needs when it is read. Nil: the system's files, regular ones of at most 1 MiB.
	ReadFile func(path string) ([]byte, error)
}

func lookupUser(name string) (uint32, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(uid), err
}

func lookupGroup(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(gid), err
}

// Load reads and checks the file at path, and the files that it names and that are needed at
// once: certificate chains.
func Load(path string, opts Options) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	data, err := readAll(f)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, opts)
}

// Parse checks data, the content of the file called name. Relative paths in it are
// relative to name's directory.
func Parse(name string, data []byte, opts Options) (*Config, error) {
	if opts.LookupUser == nil {
		opts.LookupUser = lookupUser
	}
	if opts.LookupGroup == nil {
		opts.LookupGroup = lookupGroup
	}
	if opts.ReadFile == nil {
		opts.ReadFile = readFile
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	src := &source{file: name, dir: filepath.Dir(abs), opts: opts, keys: make(map[path]place)}
	root, err := src.document(data)
	if err != nil {
		return nil, err
	}
	cfg := new(Config)
	if err := src.decodeInto(root, cfg); err != nil {
		return nil, err
	}
	if err := cfg.check(src); err != nil {
		return nil, err
	}
	return cfg, nil
}

// Rules returns what the callers are granted, in the order of their names.
func (c *Config) Rules() []policy.Rule {
	var rules []policy.Rule
	for _, name := range slices.Sorted(maps.Keys(c.Callers)) {
		caller := c.Callers[name]
		rules = append(rules, policy.Rule{
			Name:       name,
			UID:        caller.UID,
			GID:        caller.GID,
			Keysets:    caller.Keysets,
			Operations: caller.Operations,
			Algorithms: caller.Algorithms,
			Types:      caller.Types,
			ClientIDs:  caller.ClientIDs,
			Audiences:  caller.Audiences,
			Claims:     string(caller.Claims),
			Rate:       caller.Rate,
			Burst:      caller.Burst,
			Priority:   caller.Priority,
		})
	}
	return rules
}
