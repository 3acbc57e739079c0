// Package dev makes a place in which keysetd runs without an HSM and without rights:
// a SoftHSM token, a PIN, a configuration and a store in one directory.
package dev

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"text/template"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/config"
	"keysetd.example/internal/daemon"
	"keysetd.example/signing/door"
)

// Issuer of the tokens that the generated configuration allows.
const Issuer = "https://issuer.dev.example"

// tokenLabel is the CKA_LABEL of the token.
const tokenLabel = "keysetd-dev"

// Options of Prepare.
type Options struct {
	// Dir holds everything. It is made if missing, readable by its owner alone.
	Dir string
	// Module is SoftHSM's library. Empty: where distributions put it.
	Module string
	// Public and Metrics are the addresses that a new configuration listens on. Empty:
	// the usual port of 127.0.0.1, or a free one where that is taken.
	Public, Metrics string
}

// Environment is what Prepare made or found.
type Environment struct {
	Dir        string // absolute
	ConfigPath string
	Config     *config.Config
}

// Prepare makes what is missing below opts.Dir and loads the configuration in it. What
// is there is kept, so a configuration may be edited between two starts.
func Prepare(ctx context.Context, opts Options, log *slog.Logger) (*Environment, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	p := paths{dir}
	if n := len(p.socket()); n > door.MaxPath {
		return nil, fmt.Errorf("the socket would be %s, %d bytes, and a socket's path has at most %d; choose a shorter directory with --dir", p.socket(), n, door.MaxPath)
	}
	for flag, addr := range map[string]string{"--public": opts.Public, "--metrics": opts.Metrics} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			return nil, fmt.Errorf("%s must be HOST:PORT, as in 127.0.0.1:8080", flag)
		}
	}
	if err := os.MkdirAll(p.tokens(), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory for the token: %w", err)
	}
	module := opts.Module
	if module == "" {
		if module, err = FindSoftHSM(); err != nil {
			return nil, err
		}
	}
	conf := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", p.tokens())
	if err := writeNew(p.softhsmConf(), []byte(conf)); err != nil {
		return nil, err
	}
	if p.exists(p.config()) && !p.exists(p.pin()) {
		return nil, fmt.Errorf("%s is gone, and the token below %s cannot be used without it; put it back, or remove %s to start anew", p.pin(), p.tokens(), dir)
	}
	for _, path := range []string{p.pin(), p.soPIN()} {
		if err := writeNew(path, []byte(rand.Text()+"\n")); err != nil {
			return nil, err
		}
	}
	if err := p.initToken(ctx, module, log); err != nil {
		return nil, err
	}
	if err := p.writeConfig(opts, module); err != nil {
		return nil, err
	}
	env := &Environment{Dir: dir, ConfigPath: p.config()}
	cfg, err := env.Load()
	if err != nil {
		return nil, err
	}
	if used := cfg.Tokens[config.DefaultToken].Environment["SOFTHSM2_CONF"]; used != p.softhsmConf() {
		return nil, fmt.Errorf("%s uses the token of %s: the directory was moved or copied; correct SOFTHSM2_CONF there and the directory in %s, or remove %s to start anew", p.config(), used, p.softhsmConf(), dir)
	}
	if _, err := os.Stat(cfg.Store.Path); errors.Is(err, fs.ErrNotExist) {
		if err := daemon.Init(ctx, cfg, false, log, io.Discard); err != nil {
			return nil, err
		}
	}
	env.Config = cfg
	return env, nil
}

// Load reads the configuration as it is now.
func (e *Environment) Load() (*config.Config, error) {
	return config.Load(e.ConfigPath, config.Options{Dev: true})
}

// paths names the files below one directory.
type paths struct{ dir string }

func (p paths) tokens() string      { return filepath.Join(p.dir, "tokens") }
func (p paths) softhsmConf() string { return filepath.Join(p.dir, "softhsm2.conf") }
func (p paths) pin() string         { return filepath.Join(p.dir, "pin") }
func (p paths) soPIN() string       { return filepath.Join(p.dir, "so-pin") }
func (p paths) config() string      { return filepath.Join(p.dir, "keysetd.yaml") }
func (p paths) socket() string      { return filepath.Join(p.dir, "keysetd.sock") }

func (p paths) exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// initToken makes the token unless SoftHSM has one here.
func (p paths) initToken(ctx context.Context, module string, log *slog.Logger) error {
	entries, err := os.ReadDir(p.tokens())
	if err != nil || len(entries) > 0 {
		return err
	}
	pin, err := hsm.FilePIN(p.pin())(ctx)
	if err != nil {
		return err
	}
	soPIN, err := hsm.FilePIN(p.soPIN())(ctx)
	if err != nil {
		return err
	}
	cfg := hsm.Config{
		Name:        "default",
		Open:        wire.OpenRequest{Module: module},
		Environment: map[string]string{"SOFTHSM2_CONF": p.softhsmConf()},
		Logger:      log,
	}
	if _, err := hsm.InitToken(ctx, cfg, tokenLabel, soPIN, pin); err != nil {
		return fmt.Errorf("making a SoftHSM token below %s: %w", p.tokens(), err)
	}
	return nil
}

func (p paths) writeConfig(opts Options, module string) error {
	if _, err := os.Stat(p.config()); err == nil {
		return nil
	}
	values := map[string]any{
		"Module": module, "Label": tokenLabel, "SoftHSMConf": p.softhsmConf(), "Issuer": Issuer, "UID": os.Getuid(),
		"Public":  orFree(opts.Public, "127.0.0.1:8080"),
		"Metrics": orFree(opts.Metrics, "127.0.0.1:9090"),
	}
	var text bytes.Buffer
	if err := configTemplate.Execute(&text, values); err != nil {
		return err
	}
	return writeNew(p.config(), text.Bytes())
}

// orFree returns wanted; or usual, if nobody listens there; or a free port.
func orFree(wanted, usual string) string {
	if wanted != "" {
		return wanted
	}
	for _, addr := range []string{usual, "127.0.0.1:0"} {
		if l, err := net.Listen("tcp", addr); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	return usual
}

// writeNew writes a file that only its owner can read, unless it is there.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

var configTemplate = template.Must(template.New("keysetd.yaml").Parse(`# Made by "keysetd dev"; yours to change.
token:
  module: {{printf "%q" .Module}}
  label: {{.Label}}
  pin: {file: pin}
  environment: {SOFTHSM2_CONF: {{printf "%q" .SoftHSMConf}}}
store: {path: state.db}
audit: {path: audit.jsonl}
listen: {socket: keysetd.sock, socket_mode: "0600", public: "{{.Public}}", metrics: "{{.Metrics}}"}
keysets:
  default:
    purpose: jwt
    issuer: {{.Issuer}}
    keys: [rsa-2048, p-256, ed25519]
    rotation: {lead: 1m}               # so that rotating by hand can be tried soon
    certificate: {issuer: self, subject: {organization: keysetd dev, country: CH}}
  raw:
    purpose: raw
    keys: [rsa-2048, p-256]
    certificate: {issuer: self, subject: {organization: keysetd dev, country: CH}}
  enc:
    purpose: enc                       # others encrypt to it
    keys: [rsa-2048, p-256]
    max_message_age: 1h
    certificate: {issuer: none}
callers:
  me:
    uid: {{.UID}}
    keysets: ["*"]
    operations: [jwt, client-assertion, sign, decrypt, read, rotate, revoke, freeze, certificate, admin]
    algorithms: ["*"]
    client_ids: "*"
`))
