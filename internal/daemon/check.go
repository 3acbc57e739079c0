package daemon

import (
	"cmp"
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
	"text/tabwriter"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/harden"
	"keysetd.example/internal/jwa"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// Report is what Check finds, in the form of its JSON.
type Report struct {
	Tokens []TokenReport `json:"tokens"`
	// Installation tells whose keys are ours. Empty where there is no store yet, or where a
	// running daemon has it open.
	Installation string   `json:"installation,omitempty"`
	Notes        []string `json:"notes,omitempty"`
}

// TokenReport is one token.
type TokenReport struct {
	Name       string            `json:"name"`
	Module     string            `json:"module"`
	Info       hsm.Info          `json:"info"`
	Mechanisms []MechanismReport `json:"mechanisms"`
	Keys       []KeyReport       `json:"keys"`
}

// MechanismReport is one mechanism that keysetd has a use for.
type MechanismReport struct {
	Name   string `json:"name"`
	For    string `json:"for"`
	Listed bool   `json:"listed"`
	// Proved: "yes" where each algorithm signed with a key of ours and verified, "no" and why
	// where one did not, "" where there is no key to try.
	Proved string `json:"proved,omitempty"`
}

// KeyReport is one key whose label is of keysetd's form.
type KeyReport struct {
	Label string `json:"label"`
	ID    string `json:"id"`
	Spec  string `json:"spec"`
	// Ours: of this store's installation. Absent where that is not known.
	Ours *bool `json:"ours,omitempty"`
	// Problem is the attribute that breaks the rules for private keys; empty when none does.
	Problem string `json:"problem,omitempty"`
}

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
	// RetryPIN allows one more login to every token, whatever is held against one.
	RetryPIN bool
}

// Check proves the configuration on its tokens, changes nothing there, and prints what it found.
func Check(ctx context.Context, cfg *config.Config, out io.Writer, opts CheckOptions) (err error) {
	if err := harden.Process(); err != nil {
		return fmt.Errorf("hardening the process: %w", err)
	}
	if _, err := newPolicy(cfg); err != nil {
		return err
	}
	if err := ownPlace(cfg); err != nil {
		return err
	}
	for name := range cfg.Tokens {
		if opts.RetryPIN {
			if err := marker(cfg, name).Allow(ctx, name); err != nil {
				return err
			}
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

// open reads from the store what a look at the tokens needs. A store that a running
// daemon has open is no reason not to look.
func (r *Report) open(cfg *config.Config) (serials, error) {
	db, err := store.Open(cfg.Store.Path)
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
	defer db.Close()
	r.Installation = db.Installation()
	seen := readSerials{}
	for name := range cfg.Tokens {
		if seen[name], err = db.TokenSerial(name); err != nil {
			return nil, err
		}
	}
	return seen, nil
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
		if err := hsm.CheckAttributes(o, hsm.Sign); err != nil {
			k.Problem = err.Error()
		}
		t.Keys = append(t.Keys, k)
	}
	slices.SortFunc(t.Keys, func(a, b KeyReport) int { return strings.Compare(a.Label, b.Label) })
	r.Tokens = append(r.Tokens, t)
}

// prove has a key of keysetd's sign, and verifies, with every algorithm that there is a key
// for. What a token lists is a claim; this is the proof.
func prove(ctx context.Context, t *hsm.Token, objects []hsm.Object) map[jose.SignatureAlgorithm]error {
	proofs := map[jose.SignatureAlgorithm]error{}
	for _, o := range objects {
		label, err := rotation.ParseLabel(o.Label)
		if err != nil || !o.Private {
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

func (r *Report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "The configuration holds together, and every token lets keysetd log in.")
	for _, note := range r.Notes {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
	for _, t := range r.Tokens {
		fmt.Fprintf(w, "\nTOKEN %s\n", t.Name)
		fmt.Fprintf(w, "  label\t%s\n  serial\t%s\n", t.Info.Label, t.Info.Serial)
		fmt.Fprintf(w, "  model\t%s, %s, hardware %s, firmware %s\n", t.Info.Model, t.Info.Manufacturer, t.Info.HardwareVersion, t.Info.FirmwareVersion)
		fmt.Fprintf(w, "  module\t%s (%s %s)\n", t.Module, t.Info.LibraryName, t.Info.LibraryVersion)
		fmt.Fprintf(w, "  sessions\t%s\n", limitWord(t.Info.MaxSessions))
		fmt.Fprintf(w, "\n  MECHANISM\tLISTED\tPROVED\tFOR\n")
		for _, m := range t.Mechanisms {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", m.Name, yesNo(m.Listed), cmp.Or(m.Proved, "-"), m.For)
		}
		if len(t.Keys) == 0 {
			fmt.Fprintf(w, "\n  No keys of keysetd's.\n")
			continue
		}
		fmt.Fprintf(w, "\n  KEY\tOURS\tATTRIBUTES\n")
		for _, k := range t.Keys {
			attributes := "as they must be"
			if k.Problem != "" {
				attributes = k.Problem
			}
			ours := "?"
			if k.Ours != nil {
				ours = yesNo(*k.Ours)
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\n", k.Label, ours, attributes)
		}
	}
	return w.Flush()
}

func limitWord(n uint64) string {
	if n == 0 {
		return "no limit told"
	}
	return fmt.Sprintf("at most %d", n)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
