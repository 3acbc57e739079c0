package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func keysCommand(o *options) *cobra.Command {
	var kid string
	cmd := &cobra.Command{
		Use:   "keys KEYSET",
		Short: "Show the keys of a keyset with their certificates, and those that were revoked",
		Long: `Shows the keys of KEYSET: which is current, next and previous, since when and
until when it was in use, the SHA-1 fingerprint of its certificate and the
certificate's end; below them those that were revoked. With --json the names
are those of Auth0's Management API, and certificates stand there whole, as PEM
and as PKCS #7. With --pem KID it prints the certificate of that key.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show := printKeys
			if cmd.Flags().Changed("pem") {
				if o.json {
					return usagef("--pem and --json exclude each other")
				}
				show = func(out io.Writer, list *v1.KeyList, _ time.Time) error {
					return printCertificate(out, list, args[0], kid)
				}
			}
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.KeyList, error) {
				list, err := c.Keys(ctx, args[0])
				if err != nil {
					return nil, fmt.Errorf("reading the keys of keyset %s: %w", args[0], err)
				}
				return list, nil
			}, show)
		},
	}
	cmd.Flags().StringVar(&kid, "pem", "", "print the certificate of the key with this `KID` and nothing else")
	return cmd
}

func printKeys(out io.Writer, list *v1.KeyList, now time.Time) error {
	if len(list.Keys) == 0 {
		_, err := fmt.Fprintln(out, "there is no key, and none was revoked; `keysetctl status` says why")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KID\tSTATE\tSPEC\tGENERATION\tCURRENT SINCE\tCURRENT UNTIL\tCERTIFICATE UNTIL\tFINGERPRINT")
	for _, k := range list.Keys {
		row(w, k.KID, place(k, now), k.Spec, ordinal(k.Generation), moment(k.CurrentSince, now), moment(k.CurrentUntil, now),
			moment(notAfter(k.Cert), now), k.Fingerprint)
	}
	return w.Flush()
}

// place is which of a keyset's keys it is, in Auth0's words.
func place(k v1.ListedKey, now time.Time) string {
	switch {
	case k.Current:
		return "current"
	case k.Next:
		return "next"
	case k.Previous:
		return "previous"
	case k.Revoked:
		return "revoked " + moment(k.RevokedAt, now)
	}
	return k.State // of a newer daemon
}

// notAfter is the end of a certificate in PEM; zero where it cannot be read, as where there is none.
func notAfter(certificate string) time.Time {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return time.Time{}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return cert.NotAfter
}

func printCertificate(out io.Writer, list *v1.KeyList, keyset, kid string) error {
	i := slices.IndexFunc(list.Keys, func(k v1.ListedKey) bool { return k.KID == kid })
	switch {
	case i < 0:
		return fmt.Errorf("keyset %s has no key %s; `keysetctl keys %s` lists them", keyset, kid, keyset)
	case list.Keys[i].Revoked:
		return fmt.Errorf("key %s was revoked, and its certificate is gone", kid)
	case list.Keys[i].Cert == "":
		return fmt.Errorf("key %s has no certificate that is valid now; `keysetctl status %s` tells what is wrong, if anything is", kid, keyset)
	}
	_, err := io.WriteString(out, list.Keys[i].Cert)
	return err
}
