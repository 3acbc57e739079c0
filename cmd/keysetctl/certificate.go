package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func csrCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "csr",
		Short: "Show what certificates keys ask for, where somebody outside issues them",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(csrListCommand(o), csrShowCommand(o))
	return cmd
}

func csrListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list [KEYSET]",
		Short: "List the keys that wait for a certificate from outside",
		Long: `Lists the keys of KEYSET, or of every keyset that you may ask, that wait for a certificate from
outside: by when it is to be handed in, and until when it should be valid.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) ([]wanted, error) {
				if len(args) == 1 {
					list, err := requests(ctx, c, args[0])
					return []wanted{{args[0], list}}, err
				}
				return allRequests(ctx, c)
			}, printRequests)
		},
	}
}

// wanted is what the keys of a keyset ask for.
type wanted struct {
	Keyset   string                  `json:"keyset"`
	Requests []v1.CertificateRequest `json:"requests"`
}

func requests(ctx context.Context, c *client.Client, keyset string) ([]v1.CertificateRequest, error) {
	list, err := c.CSR(ctx, keyset)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate requests of keyset %s: %w", keyset, err)
	}
	return list.Requests, nil
}

// allRequests are those of all keysets that the caller may ask.
func allRequests(ctx context.Context, c *client.Client) ([]wanted, error) {
	state, err := c.Keysets(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the keysets: %w", err)
	}
	all, last := []wanted{}, error(nil)
	for _, k := range state.Keysets {
		list, err := requests(ctx, c, k.Name)
		switch {
		case errors.Is(err, client.ErrNotGranted):
			last = err
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, wanted{k.Name, list})
	}
	if len(all) == 0 && last != nil {
		return nil, last
	}
	return all, nil
}

func printRequests(out io.Writer, all []wanted, now time.Time) error {
	if !slices.ContainsFunc(all, func(w wanted) bool { return len(w.Requests) > 0 }) {
		_, err := fmt.Fprintln(out, "no key waits for a certificate from outside")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEYSET\tGENERATION\tSTATE\tKID\tNEEDED BY\tVALID UNTIL AT LEAST")
	for _, k := range all {
		for _, r := range k.Requests {
			row(w, k.Keyset, ordinal(r.Generation), r.State, r.KID, moment(r.NeededBy, now), moment(r.ValidUntil, now))
		}
	}
	return w.Flush()
}

func csrShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "show KEYSET [KID]",
		Short: "Print the certificate signing request of a key",
		Long: `Prints the request (PKCS #10, PEM) of the key KID of KEYSET for its certificate, signed by the key. KID
may be left out where one key only waits for a certificate.`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (v1.CertificateRequest, error) {
				list, err := requests(ctx, c, args[0])
				if err != nil {
					return v1.CertificateRequest{}, err
				}
				return choose(list, args)
			}, func(out io.Writer, r v1.CertificateRequest, _ time.Time) error {
				_, err := io.WriteString(out, r.CSR)
				return err
			})
		},
	}
}

// choose returns the request that KEYSET [KID] mean.
func choose(list []v1.CertificateRequest, args []string) (v1.CertificateRequest, error) {
	keyset := args[0]
	if len(args) == 1 {
		switch len(list) {
		case 0:
			return v1.CertificateRequest{}, fmt.Errorf("no key of keyset %s waits for a certificate from outside", keyset)
		case 1:
			return list[0], nil
		}
		return v1.CertificateRequest{}, fmt.Errorf("%d keys of keyset %s wait for a certificate; say which one, `keysetctl csr list %s` lists them", len(list), keyset, keyset)
	}
	i := slices.IndexFunc(list, func(r v1.CertificateRequest) bool { return isOf(args[1], r.KID) })
	if i < 0 {
		return v1.CertificateRequest{}, fmt.Errorf("key %s of keyset %s does not wait for a certificate; `keysetctl csr list %s` lists those that do", args[1], keyset, keyset)
	}
	return list[i], nil
}

func certificateCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certificate",
		Short: "Hand in certificates that somebody outside has issued",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(importCommand(o))
	return cmd
}

// maxChainFile is how much of a file is read, in bytes: more than keysetd takes.
const maxChainFile = 128 << 10

func importCommand(o *options) *cobra.Command {
	var kid string
	cmd := &cobra.Command{
		Use:   "import KEYSET --kid KID FILE",
		Short: "Hand in the certificate of a key",
		Long: `Hands in the certificate of the key KID of KEYSET, and those above it, from FILE (PEM, in any order, with or
without the root; - for standard input). keysetd checks that it is for that key, as it was asked for, that it leads to
one of the roots that are configured, and that it is valid long enough.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kid == "" {
				return usagef("--kid is missing; say for which key the certificate is (`keysetctl csr list %s` lists those that wait)", args[0])
			}
			chain, err := chainFile(cmd.InOrStdin(), args[1])
			if err != nil {
				return err
			}
			return exchange(o, cmd, toAct, func(ctx context.Context, c *client.Client) (*v1.ActReply, error) {
				reply, err := c.ImportCertificate(ctx, args[0], &v1.ImportCertificateRequest{KID: kid, Chain: chain})
				if err != nil {
					return nil, fmt.Errorf("importing the certificate of key %s, keyset %s: %w", kid, args[0], err)
				}
				return reply, nil
			}, printAct)
		},
	}
	cmd.Flags().StringVar(&kid, "kid", "", "the key that the certificate is for")
	return cmd
}

func chainFile(stdin io.Reader, name string) (string, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("reading the certificates: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxChainFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the certificates: %w", err)
	case len(b) > maxChainFile:
		return "", fmt.Errorf("%s is larger than the %d KiB that a chain may have", name, maxChainFile>>10)
	}
	return string(b), nil
}
