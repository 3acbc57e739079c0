package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"keysetd.example/client"
)

// maxJWKS bounds what is read, in bytes; a key with its chain takes some four thousand.
const maxJWKS = 4 << 20

func jwksCommand(o *options) *cobra.Command {
	var base string
	cmd := &cobra.Command{
		Use:   "jwks KEYSET",
		Short: "Fetch a keyset's JWKS as the world sees it",
		Long: `Fetches the JSON Web Key Set of KEYSET from keysetd's public address, as verifiers
do, and prints it: indented, or with --json byte for byte as it was served.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.within(cmd.Context(), toAsk)
			defer cancel()
			if base == "" {
				var err error
				if base, err = o.publicAddress(ctx); err != nil {
					return err
				}
			}
			body, err := fetch(ctx, base, args[0])
			if err != nil {
				return err
			}
			if !o.json {
				if err := body.Indent(jsontext.WithIndent("  ")); err != nil {
					return fmt.Errorf("what %s serves for keyset %s is not JSON: %w", base, args[0], err)
				}
				body = append(body, '\n')
			}
			_, err = cmd.OutOrStdout().Write(body)
			return err
		},
	}
	cmd.Flags().StringVar(&base, "url", "", "keysetd's public address (default: what the daemon on the socket says)")
	return cmd
}

// publicAddress asks the daemon where its public door is.
func (o *options) publicAddress(ctx context.Context) (string, error) {
	c, err := client.Dial(o.socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	list, err := c.Keysets(ctx)
	if err != nil {
		return "", fmt.Errorf("asking keysetd for its public address, which --url would tell: %w", err)
	}
	if list.Public == "" {
		return "", errors.New("this keysetd has no public door (listen.public is off); name where its JWKS is published with --url")
	}
	return "http://" + list.Public, nil
}

func fetch(ctx context.Context, base, keyset string) (jsontext.Value, error) {
	address, err := url.Parse(base)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" {
		return nil, usagef("--url %q is no http or https address", base)
	}
	target := address.JoinPath("keysets", url.PathEscape(keyset), "jwks.json").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		var urlErr *url.Error
		if errors.As(err, &urlErr) {
			err = urlErr.Err
		}
		return nil, fmt.Errorf("fetching %s: %w; is keysetd running, and is that its listen.public?", target, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetching %s: %w", target, err)
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("fetching %s: no keyset %s is published there", target, keyset)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("fetching %s: the answer is %s", target, resp.Status)
	}
	return body, nil
}
