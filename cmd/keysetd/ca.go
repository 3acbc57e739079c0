package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keysetd.example/hsm/ceremony"
	"keysetd.example/internal/keyspec"
)

func caCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make an issuing CA on a token in one sitting, and keep a signed record of it",
		Long: `Makes a certificate authority whose key is on a token, for keysets whose certificates it is to
issue (certificate_authorities in the configuration). A person does this once, in one sitting;
no daemon needs to run. What was done is printed, and saved with a signature by the new key.
Nothing that exists, on the token or on disk, is ever overwritten.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q of `keysetd ca`; `keysetd help ca` lists them", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(caCreateCommand(), caImportCommand(), caVerifyCommand())
	return cmd
}

// caFlags are those of every command of `keysetd ca` that logs in.
type caFlags struct {
	config, token string
	witnesses     []string
}

func (f *caFlags) add(cmd *cobra.Command, witnesses bool) {
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(&f.token, "token", "", "name of the token in the configuration (default: the only one, or that of the record)")
	if witnesses {
		cmd.Flags().StringArrayVar(&f.witnesses, "witness", nil, "name of somebody who is there, for the record; may be repeated")
	}
}

func caCreateCommand() *cobra.Command {
	var flags caFlags
	var plan ceremony.Plan
	var spec, subject string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a CA's key on the token, and its certificate or a request for one",
		Long: `Makes a key on the token - never extractable, for signing only - and with it a self-signed CA
certificate or, with --csr, a request for the corporate root. Writes these and the record of
the ceremony into a directory. It refuses where anything on the token has the label already,
and where the directory has files of another ceremony.`,
		Example: `  keysetd ca create tokens --label tokens-ca --key p-384 --days 1825 --witness "Bob" --subject "CN=Example Tokens CA,O=Example,C=CH"
  keysetd ca create tokens --label tokens-ca --key rsa-3072 --csr --subject "CN=Example Tokens CA,O=Example,C=CH"
  keysetd ca import --record tokens/record.json issued.pem`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan.Name = args[0]
			if plan.Dir == "" {
				plan.Dir = plan.Name
			}
			if err := complete(&plan, spec, subject); err != nil {
				return usageError{err}
			}
			cfg, err := load(flags.config)
			if err != nil {
				return err
			}
			if plan.People, err = ceremony.Here(flags.witnesses); err != nil {
				return err
			}
			if err := notOfKeyset(cfg, plan.Label); err != nil {
				return err
			}
			p, err := placeOf(cfg, flags.token, "")
			if err != nil {
				return err
			}
			made, err := ceremony.Create(cmd.Context(), p, plan)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), made.Text()+next(made, plan.Dir))
			return err
		},
	}
	flags.add(cmd, true)
	cmd.Flags().StringVar(&plan.Label, "label", "", "label of the key on the token (required)")
	cmd.Flags().StringVar(&spec, "key", string(keyspec.P384), fmt.Sprintf("key spec, one of %v", ceremony.Specs()))
	cmd.Flags().StringVar(&subject, "subject", "", `subject of the certificate (required), as in "CN=Example Tokens CA,O=Example,C=CH"`)
	cmd.Flags().IntVar(&plan.Days, "days", 0, "how long the self-signed certificate is valid (required without --csr)")
	cmd.Flags().IntVar(&plan.PathLength, "path-length", 0, "how many CAs there may be below it")
	cmd.Flags().BoolVar(&plan.CSR, "csr", false, "make a request for a corporate root instead of a self-signed certificate")
	cmd.Flags().StringVar(&plan.Dir, "out", "", "directory for the files (default: the CA's name)")
	return cmd
}

func complete(plan *ceremony.Plan, spec, subject string) (err error) {
	if plan.Spec, err = keyspec.Parse(spec); err != nil {
		return fmt.Errorf("--key %q: %w", spec, err)
	}
	if subject == "" {
		return errors.New(`--subject is missing, as in --subject "CN=Example Tokens CA,O=Example,C=CH"`)
	}
	if plan.Subject, err = ceremony.ParseSubject(subject); err != nil {
		return fmt.Errorf("--subject: %w", err)
	}
	return nil
}

// next tells what to do with a CA that was made.
func next(made ceremony.Record, dir string) string {
	dir = absolute(dir)
	if made.Request != nil {
		return fmt.Sprintf(`
Have %s signed by the corporate root, then:

  keysetd ca import --record %s ISSUED.pem
`, filepath.Join(dir, "request.pem"), quoted(filepath.Join(dir, "record.json")))
	}
	return configuration(made.Statement, filepath.Join(dir, "certificate.pem"))
}

// configuration is what the configuration says of a CA.
func configuration(s ceremony.Statement, file string) string {
	return fmt.Sprintf(`
In the configuration:

certificate_authorities:
  %s: {token: %s, label: %q, certificate: %q}
`, s.Name, s.Token.Name, s.Key.Label, file)
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

func caImportCommand() *cobra.Command {
	var flags caFlags
	var record string
	cmd := &cobra.Command{
		Use:   "import --record DIR/record.json ISSUED.pem",
		Short: "Take in the chain that the corporate root issued for a CA's request",
		Long: `Checks the chain - PEM, the CA's own certificate first, each followed by the one that signed it -
against the record, writes it beside the record as chain.pem, and with it an addendum to the record,
which the CA's key on the token signs.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if filepath.Base(record) != "record.json" {
				return usageError{fmt.Errorf("--record %q is no DIR/record.json, which `keysetd ca create` writes", record)}
			}
			dir := filepath.Dir(record)
			chain, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the chain: %w", err)
			}
			found, err := ceremony.Verify(dir)
			if err != nil {
				return err
			}
			cfg, err := load(flags.config)
			if err != nil {
				return err
			}
			people, err := ceremony.Here(flags.witnesses)
			if err != nil {
				return err
			}
			p, err := placeOf(cfg, flags.token, found.Record.Token.Name)
			if err != nil {
				return err
			}
			done, err := ceremony.TakeIn(cmd.Context(), p, dir, chain, people)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), done.Text()+configuration(done.Statement, filepath.Join(absolute(dir), "chain.pem")))
			return err
		},
	}
	flags.add(cmd, true)
	cmd.Flags().StringVar(&record, "record", "", "the record.json of the ceremony (required)")
	return cmd
}

func caVerifyCommand() *cobra.Command {
	var flags caFlags
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check the record of a ceremony, and with --token the key on the token",
		Long: `Checks that the record and its addendum are signed by the CA's key and say what the files beside
them hold. Compare the fingerprint that it prints with the one on the record that was printed:
files alone cannot tell that all of them were replaced. With --token it also logs in there, and checks that the key is on
the token, with the attributes that it had, and signs.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			if flags.token == "" {
				found, err := ceremony.Verify(dir)
				if err != nil {
					return err
				}
				return report(cmd.OutOrStdout(), found, "The token was not asked (--token).")
			}
			cfg, err := load(flags.config)
			if err != nil {
				return err
			}
			p, err := placeOf(cfg, flags.token, "")
			if err != nil {
				return err
			}
			found, err := ceremony.VerifyOnToken(cmd.Context(), p, dir)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), found, fmt.Sprintf("The key is on token %s, as it was made.", flags.token))
		},
	}
	flags.add(cmd, false)
	return cmd
}

// report prints what was verified, for people.
func report(out io.Writer, found ceremony.Ceremony, token string) error {
	r := found.Record
	var b strings.Builder
	fmt.Fprintf(&b, "The record of %s, made %s, is signed by its key, and its files are as it says.\n", r.Name, r.When.Format(time.RFC3339))
	fmt.Fprintf(&b, "SHA-256 of the SPKI: %s\n", r.Key.SPKISHA256)
	outdated := r.Expired(time.Now())
	switch {
	case r.Certificate != nil:
		fmt.Fprintf(&b, "SHA-256 of the certificate: %s\n", r.Certificate.SHA256)
	case found.Import != nil:
		fmt.Fprintf(&b, "SHA-256 of the certificate: %s, imported %s\n", found.Import.Chain[0].SHA256, found.Import.When.Format(time.RFC3339))
		outdated = found.Import.Expired(time.Now())
	default:
		fmt.Fprintln(&b, "No chain has been imported yet.")
	}
	if outdated != "" {
		fmt.Fprintf(&b, "Not valid now: %s.\n", outdated)
	}
	fmt.Fprintln(&b, token)
	_, err := io.WriteString(out, b.String())
	return err
}
