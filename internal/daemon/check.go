package daemon

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/jwa"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// mechanisms that keysetd uses (PKCS#11 v3.0 §2), by number.
var mechanisms = []struct {
	number     uint64
	name       string
	makes      string // or
	algorithms []jose.SignatureAlgorithm
}{
	{0x0000, "CKM_RSA_PKCS_KEY_PAIR_GEN", "making RSA keys", nil},
	{0x0001, "CKM_RSA_PKCS", "", []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512}},
	{0x000D, "CKM_RSA_PKCS_PSS", "", []jose.SignatureAlgorithm{jose.PS256, jose.PS384, jose.PS512}},
	{0x1040, "CKM_EC_KEY_PAIR_GEN", "making P-256, P-384 and P-521 keys", nil},
	{0x1041, "CKM_ECDSA", "", []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512}},
	{0x1055, "CKM_EC_EDWARDS_KEY_PAIR_GEN", "making Ed25519 keys", nil},
	{0x1057, "CKM_EDDSA", "", []jose.SignatureAlgorithm{jose.EdDSA}},
}

// CheckOptions of Check.
type CheckOptions struct {
	JSON bool
	// RetryPIN names the token to which one more login is allowed, whatever is held against
	// one. Empty: none.
	RetryPIN string
}

// Check proves the configuration on its tokens, changes nothing there nor in the store, and prints what it found.
func Check(ctx context.Context, cfg *config.Config, out io.Writer, opts CheckOptions) (err error) {
	if _, err := enter(cfg); err != nil {
		return err
	}
	if name := opts.RetryPIN; name != "" {
		if _, ok := cfg.Tokens[name]; !ok {
			return fmt.Errorf("--retry-pin=%s: no such token is configured; the tokens are %s", name, strings.Join(sortedKeys(cfg.Tokens), ", "))
		}
		if err := marker(cfg, name).Allow(ctx, name); err != nil {
			return err
		}
	}
	var report Report
	known, err := report.open(cfg)
	if err != nil {
		return err
	}
	ts, err := startTokens(cfg, known, nil, slog.New(slog.DiscardHandler), func() {})
	if err != nil {
		return err
	}
	defer closing(&err, "the tokens", func() error { return ts.close(context.WithoutCancel(ctx)) })
	if err := ts.prove(ctx); err != nil {
		return err
	}
	for _, name := range sortedKeys(ts) {
		objects, err := ts[name].Objects(ctx, "")
		if err != nil {
			return err
		}
		report.add(name, cfg.Tokens[name].Module, ts[name].Status().Info, objects, prove(ctx, ts[name], objects))
	}
	if opts.JSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return report.print(out)
}

// open reads from the store what a look at the tokens needs, and changes nothing in it. A store that a running
// daemon has open is no reason not to look.
func (r *Report) open(cfg *config.Config) (serials, error) {
	found, err := store.Look(cfg.Store.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Notes = append(r.Notes, fmt.Sprintf("there is no store %s yet; `keysetd init` makes it and the first keys", cfg.Store.Path))
		return nil, nil
	case errors.Is(err, store.ErrInUse):
		r.Notes = append(r.Notes, "a running keysetd has the store open, so the keys are not told apart by installation")
		return provenSerials{cfg}, nil
	case err != nil:
		return nil, err
	}
	if found.Old {
		r.Notes = append(r.Notes, fmt.Sprintf("the store %s is of an older version; the next start of keysetd migrates it, after a copy is put beside it, and an older keysetd cannot read it any more then", cfg.Store.Path))
	}
	r.Installation = found.Installation
	return readSerials(found.Serials), nil
}

// readSerials are what a store remembered when it was read. Nothing is added.
type readSerials map[string]string

func (s readSerials) TokenSerial(name string) (string, error) { return s[name], nil }
func (s readSerials) RememberToken(string, string) error      { return nil }

// provenSerials are those of the latest logins, from beside the store.
type provenSerials struct{ cfg *config.Config }

func (s provenSerials) TokenSerial(name string) (string, error) {
	return marker(s.cfg, name).ProvenSerial()
}
func (s provenSerials) RememberToken(string, string) error { return nil }

func (r *Report) add(name, module string, info hsm.Info, objects []hsm.Object, proofs map[jose.SignatureAlgorithm]error) {
	t := TokenReport{Name: name, Module: module, Info: info, Keys: []KeyReport{}}
	for _, m := range mechanisms {
		report := MechanismReport{Name: m.name, For: m.makes, Listed: slices.Contains(info.Mechanisms, m.number)}
		for _, alg := range m.algorithms {
			report.For = strings.TrimPrefix(report.For+", "+string(alg), ", ")
			switch err, tried := proofs[alg]; {
			case err != nil:
				report.Proved = fmt.Sprintf("no: %s: %v", alg, err)
			case tried && report.Proved == "":
				report.Proved = "yes"
			}
		}
		t.Mechanisms = append(t.Mechanisms, report)
	}
	for _, o := range objects {
		label, err := rotation.ParseLabel(o.Label)
		if err != nil || !o.Private {
			continue // somebody else's
		}
		k := KeyReport{Label: o.Label, ID: fmt.Sprintf("%x", o.ID), Spec: string(label.Spec)}
		if r.Installation != "" {
			k.Ours = new(label.Installation == r.Installation)
		}
		if err := hsm.CheckAttributes(o, usage(o)); err != nil {
			k.Problem = err.Error()
		}
		t.Keys = append(t.Keys, k)
	}
	slices.SortFunc(t.Keys, func(a, b KeyReport) int { return strings.Compare(a.Label, b.Label) })
	r.Tokens = append(r.Tokens, t)
}

// usage is what a key was made for, as its token tells.
func usage(o hsm.Object) hsm.Usage {
	a := o.Attributes
	for _, u := range []struct {
		usage hsm.Usage
		may   *bool
	}{{hsm.Sign, a.Sign}, {hsm.Decrypt, a.Decrypt}, {hsm.Derive, a.Derive}} {
		if u.may != nil && *u.may {
			return u.usage
		}
	}
	return hsm.Sign // which hsm.CheckAttributes will find it is not
}

// prove has a key of keysetd's sign, and verifies, with every algorithm that there is a key
// for. What a token lists is a claim; this is the proof.
func prove(ctx context.Context, t *hsm.Token, objects []hsm.Object) map[jose.SignatureAlgorithm]error {
	proofs := map[jose.SignatureAlgorithm]error{}
	for _, o := range objects {
		label, err := rotation.ParseLabel(o.Label)
		if err != nil || !o.Private || usage(o) != hsm.Sign {
			continue
		}
		for _, alg := range jwa.ForSpec(label.Spec) {
			if _, tried := proofs[alg]; !tried {
				proofs[alg] = proveOne(ctx, t, o, alg)
			}
		}
	}
	return proofs
}

func proveOne(ctx context.Context, t *hsm.Token, o hsm.Object, alg jose.SignatureAlgorithm) error {
	ctx, cancel := context.WithTimeout(ctx, tokenPatience)
	defer cancel()
	opts, err := jwa.Options(alg)
	if err != nil {
		return err
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return fmt.Errorf("reading the public half of %q: %w", o.Label, err)
	}
	key, err := t.Key(hsm.Ref{ID: o.ID, Label: o.Label}, pub)
	if err != nil {
		return err
	}
	return key.Probe(ctx, opts)
}
