package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/config"
	"keysetd.example/rotation"
)

// serials remembers which token stands behind each name.
type serials interface {
	TokenSerial(name string) (string, error)
	RememberToken(name, serial string) error
}

// tokens are the configured tokens, each with its worker.
type tokens map[string]*hsm.Token

// startTokens begins to bring all tokens up. changed is called when one came or went.
func startTokens(cfg *config.Config, known serials, metrics *hsm.Metrics, log *slog.Logger, changed func()) (tokens, error) {
	started := tokens{}
	for name, tc := range cfg.Tokens {
		t, err := hsm.Start(tokenConfig(cfg, name, tc, known, metrics, log, changed))
		if err != nil {
			started.close(context.Background())
			return nil, err
		}
		started[name] = t
	}
	return started, nil
}

func tokenConfig(cfg *config.Config, name string, tc config.Token, known serials, metrics *hsm.Metrics, log *slog.Logger, changed func()) hsm.Config {
	pin, source := pinOf(tc.PIN)
	c := hsm.Config{
		Name: name,
		Open: wire.OpenRequest{
			Module: tc.Module, Label: tc.Label, Serial: tc.Serial,
			Manufacturer: tc.Manufacturer, Model: tc.Model, Reserved: tc.Reserved,
		},
		Environment: tc.Environment,
		Sessions:    tc.Sessions,
		Verify:      hsm.VerifyMode(tc.VerifySignatures),
		Accept:      tc.AcceptKeys,
		Limits:      hsm.Limits(tc.Limits),
		PIN:         pin,
		PINSource:   source,
		Marker:      marker(cfg, name),
		Logger:      log,
		Metrics:     metrics,
		OnChange:    changed,
	}
	if known != nil {
		c.RememberSerial = func(serial string) error { return known.RememberToken(name, serial) }
		c.Serial = func() string {
			serial, err := known.TokenSerial(name)
			if err != nil {
				log.Error("the token's serial number cannot be read from the store", "token", name, "error", err)
				return "unreadable" // matches no token: nobody logs in to what may be another one
			}
			return serial
		}
	}
	return c
}

// TokenFor begins as every command does that may log in, and returns a token as the daemon would use it. The
// store may be open in a daemon; the latest login tells as well which token is meant.
func TokenFor(cfg *config.Config, name string) (hsm.Config, error) {
	if _, err := enter(cfg); err != nil {
		return hsm.Config{}, err
	}
	c := tokenConfig(cfg, name, cfg.Tokens[name], nil, nil, slog.New(slog.DiscardHandler), func() {})
	c.Sessions, c.Verify = 1, hsm.VerifyAll
	c.Serial = func() string {
		serial, err := c.Marker.ProvenSerial()
		if err != nil {
			return "unreadable" // matches no token: nobody logs in to what may be another one
		}
		return serial
	}
	return c, nil
}

// marker of a token's PIN. It lies beside the store, so that every command with the same
// configuration finds it (invariant 9).
func marker(cfg *config.Config, token string) *hsm.PINMarker {
	return &hsm.PINMarker{Path: filepath.Join(filepath.Dir(cfg.Store.Path), "pin-"+token+".marker")}
}

// tokenPatience is how long a command that a person waits for gives a token to come up.
const tokenPatience = 30 * time.Second

// prove waits until every token is up, and says why one is not after its first attempt.
func (ts tokens) prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tokenPatience)
	defer cancel()
	var errs []error
	for _, name := range sortedKeys(ts) {
		errs = append(errs, ts[name].Attempt(ctx))
	}
	return errors.Join(errs...)
}

// ready waits until every token is up.
func (ts tokens) ready(ctx context.Context) error {
	var errs []error
	for _, t := range ts {
		errs = append(errs, t.Ready(ctx))
	}
	return errors.Join(errs...)
}

// up reports whether all tokens are.
func (ts tokens) up() bool {
	for _, t := range ts {
		if !t.Status().Up {
			return false
		}
	}
	return true
}

// close finalises the modules and ends the workers.
func (ts tokens) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var errs []error
	for _, t := range ts {
		errs = append(errs, t.Close(ctx))
	}
	return errors.Join(errs...)
}

// key is a key on its token.
func (ts tokens) key(key rotation.Key) (tokenKey, error) {
	pub, err := x509.ParsePKIXPublicKey(key.Public)
	if err != nil {
		return nil, err
	}
	return ts[key.Token].Key(hsm.Ref{ID: key.ID, Label: key.Label}, pub)
}

// status is what the door tells of the tokens.
func (ts tokens) status() []v1.Token {
	list := []v1.Token{}
	for _, name := range sortedKeys(ts) {
		s := ts[name].Status()
		list = append(list, v1.Token{
			Name: name, Up: s.Up, Since: s.Since, Problem: s.Problem,
			Label: s.Info.Label, Serial: s.Info.Serial, Model: s.Info.Model, FoundSerial: s.FoundSerial,
		})
	}
	return list
}

// acceptSerial makes a token that was refused for its serial number the one that is meant.
func (ts tokens) acceptSerial(ctx context.Context, name, serial string) error {
	t, err := ts.named(name)
	if err != nil {
		return err
	}
	return t.AcceptSerial(ctx, serial)
}

// retryPIN lets a token try its PIN once more.
func (ts tokens) retryPIN(ctx context.Context, name string) error {
	t, err := ts.named(name)
	if err != nil {
		return err
	}
	return t.RetryPIN(ctx)
}

func (ts tokens) named(name string) (*hsm.Token, error) {
	if t, ok := ts[name]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("token %s is not configured; the tokens are %v", name, sortedKeys(ts))
}
