package config

import (
	"maps"
	"regexp"
	"slices"
	"time"
)

// Token is a PKCS#11 token: the module, which token in it, and how to log in. Slot
// numbers change, so a token is found by what it says of itself.
type Token struct {
	// Module is the path of the PKCS#11 library. Required, unless the uri has a module-path.
	Module string `yaml:"module"`
	// Label of the token (CK_TOKEN_INFO, at most 32 bytes). One of label, serial and uri is
	// required; label and serial together must both match.
	Label string `yaml:"label"`
	// Serial number of the token (at most 16 bytes), as text. Left out: any.
	Serial string `yaml:"serial"`
	// URI names the token as RFC 7512 does, by the attributes token, serial, manufacturer
	// and model; it may have a module-path. Instead of label and serial.
	URI string `yaml:"uri"`
	// Manufacturer and Model come from the uri. Empty: any.
	Manufacturer string `yaml:"-"`
	Model        string `yaml:"-"`
	// PIN says where the PIN is to be read. Required.
	PIN PIN `yaml:"pin"`
	// Sessions is how many sessions sign at the same time, 1 to 1024. Left out: 8.
	Sessions int `yaml:"sessions"`
	// VerifySignatures says which signatures are verified before they are released: rsa,
	// all or none. Left out: rsa, for a fault in an RSA signature gives the key away.
	VerifySignatures Verify `yaml:"verify_signatures"`
	// Environment is set for the module's process, beside the few variables that every
	// module's process has. Left out: nothing more.
	Environment map[string]string `yaml:"environment"`
	// AcceptKeys are the labels of keys that sign although their attributes break the rules
	// for private keys, such as keys that were imported. Left out: none does.
	AcceptKeys []string `yaml:"accept_keys"`
	// Limits are the longest that operations may take in the module's process; one that takes longer
	// counts as hanging, and the process is ended. Left out: see its fields.
	Limits Limits `yaml:"limits"`
	// Reserved is handed to C_Initialize as pReserved, which NSS softokn reads its
	// parameters from. Left out: NULL.
	Reserved string `yaml:"reserved"`
}

// Limits of a token's operations.
type Limits struct {
	// Open: to load the module and find the token. Left out: 1m.
	Open time.Duration `yaml:"open"`
	// Login: to open the sessions and log in. Left out: 1m.
	Login time.Duration `yaml:"login"`
	// List: to read all keys. Left out: 1m.
	List time.Duration `yaml:"list"`
	// Generate: to make one key pair. Left out: 10m.
	Generate time.Duration `yaml:"generate"`
	// Sign: to make one signature. Left out: 10s.
	Sign time.Duration `yaml:"sign"`
	// Decrypt: to decrypt or derive once. Left out: 10s.
	Decrypt time.Duration `yaml:"decrypt"`
	// Destroy: to remove one key. Left out: 1m.
	Destroy time.Duration `yaml:"destroy"`
	// Finalise: to close the sessions before the process is ended. Left out: 1s.
	Finalise time.Duration `yaml:"finalise"`
}

func (t *Token) setDefaults() {
	t.Sessions = 8
	t.VerifySignatures = VerifyRSA
}

// PIN says where a PIN is to be read; exactly one field is given. The PIN itself never
// stands in the configuration.
type PIN struct {
	// File that holds the PIN; one newline at its end does not belong to it.
	File string `yaml:"file"`
	// Credential is the name of a systemd credential (systemd.exec(5), LoadCredential=).
	Credential string `yaml:"credential"`
	// Env is the name of an environment variable. Only `keysetd dev` accepts it.
	Env string `yaml:"env"`
}

func (*PIN) ifText() string {
	return "a PIN must not stand in the configuration, where backups and people see it; put it in a file of mode 0600 and write {file: PATH}"
}

// Verify says which signatures are verified before they are released.
type Verify string

// What can be verified.
const (
	VerifyRSA  Verify = "rsa"
	VerifyAll  Verify = "all"
	VerifyNone Verify = "none"
)

// The limits of CK_TOKEN_INFO, in bytes.
const (
	maxLabel  = 32
	maxSerial = 16
)

var (
	credentialName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$`)
	variableName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
)

func (c *Config) checkTokens(src *source) error {
	switch {
	case c.Token == nil && c.Tokens == nil:
		return src.fail(root, "no token is given; describe one under token:")
	case c.Token != nil && c.Tokens != nil:
		return src.fail(root.join("tokens"), "both token and tokens are given; use token for a single one, or tokens for several by name")
	case c.Token != nil:
		if err := c.Token.check(src, root.join("token")); err != nil {
			return err
		}
		c.Tokens = map[string]Token{DefaultToken: *c.Token}
		c.Token, c.single = nil, true
		return nil
	case len(c.Tokens) == 0:
		return src.fail(root.join("tokens"), "no token is given; describe at least one")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tokens)) {
		t := c.Tokens[name]
		if err := t.check(src, root.join("tokens").join(name)); err != nil {
			return err
		}
		c.Tokens[name] = t
	}
	return c.checkTwins(src)
}

// checkTwins refuses two names for one token. Each would log in for itself, and so try a
// wrong PIN twice.
func (c *Config) checkTwins(src *source) error {
	type identity struct{ module, label, serial, manufacturer, model string }
	seen := map[identity]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Tokens)) {
		t := c.Tokens[name]
		id := identity{t.Module, t.Label, t.Serial, t.Manufacturer, t.Model}
		if twin, ok := seen[id]; ok {
			return src.fail(root.join("tokens").join(name), "is the same token as %s; give each token one name", twin)
		}
		seen[id] = name
	}
	return nil
}

func (t *Token) check(src *source, at path) error {
	if t.URI != "" {
		if t.Label != "" || t.Serial != "" {
			return src.fail(at.join("uri"), "does not go with label or serial; name the token one way")
		}
		u, err := parseURI(t.URI)
		if err != nil {
			return src.fail(at.join("uri"), "%v", err)
		}
		if u.module != "" && t.Module != "" {
			return src.fail(at.join("uri"), "module-path does not go with module; name the module once")
		}
		if u.module != "" {
			t.Module = u.module
		}
		t.Label, t.Serial, t.Manufacturer, t.Model = u.token, u.serial, u.manufacturer, u.model
	}
	switch {
	case t.Module == "":
		return src.fail(at, "module is missing; give the path of the PKCS#11 library")
	case t.Label == "" && t.Serial == "" && t.Manufacturer == "" && t.Model == "":
		return src.fail(at, "does not say which token; give its label, serial or uri")
	case len(t.Label) > maxLabel:
		return src.fail(at.join("label"), "is longer than the %d bytes that PKCS#11 has for a token's label", maxLabel)
	case len(t.Serial) > maxSerial:
		return src.fail(at.join("serial"), "is longer than the %d bytes that PKCS#11 has for a serial number", maxSerial)
	case t.Sessions < 1 || t.Sessions > 1024:
		return src.fail(at.join("sessions"), "must be from 1 to 1024")
	}
	t.Module = src.abs(t.Module)
	return t.PIN.check(src, at)
}

func (p *PIN) check(src *source, token path) error {
	at := token.join("pin")
	given := 0
	for _, s := range []string{p.File, p.Credential, p.Env} {
		if s != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return src.fail(at, "does not say where the PIN is; write {file: PATH} or {credential: NAME}")
	case given > 1:
		return src.fail(at, "names several places; give one of file, credential, env")
	case p.Env != "" && !src.opts.Dev:
		return src.fail(at.join("env"), "is only for keysetd dev, for the environment of a process is easily seen; use file or credential")
	case p.Env != "" && !variableName.MatchString(p.Env):
		return src.fail(at.join("env"), "must be the name of an environment variable")
	case p.Credential != "" && !credentialName.MatchString(p.Credential):
		return src.fail(at.join("credential"), "must be the name of a systemd credential: letters, digits, \".\" \"_\" \"-\"")
	case p.File != "":
		p.File = src.abs(p.File)
	}
	return nil
}
