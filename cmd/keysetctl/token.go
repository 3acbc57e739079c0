package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func tokenCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "What concerns a token",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tokenAcceptCommand(o))
	return cmd
}

func tokenAcceptCommand(o *options) *cobra.Command {
	var serial string
	cmd := &cobra.Command{
		Use:   "accept [TOKEN]",
		Short: "Accept that a token is another one than before",
		Long: `A token under the configured label that has another serial number than the one that
keysetd remembers is never logged in to. Once you are sure that it is the one that is meant,
this accepts it. TOKEN is its name in the configuration, "default" if left out. With --serial
it is accepted only if that is the number it has.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "default"
			if len(args) == 1 {
				name = args[0]
			}
			c, ctx, cancel, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer cancel()
			defer c.Close()
			if serial == "" {
				if serial, err = foundSerial(ctx, c, name); err != nil {
					return err
				}
			}
			if _, err := c.Accept(ctx, name, serial); err != nil {
				return fmt.Errorf("accepting serial number %s for token %s: %w", serial, name, err)
			}
			token, err := outcome(ctx, c, name)
			if err != nil {
				return err
			}
			return printToken(cmd, o, token)
		},
	}
	cmd.Flags().StringVar(&serial, "serial", "", "the serial number that is meant (default: the one that was found)")
	return cmd
}

func foundSerial(ctx context.Context, c *client.Client, name string) (string, error) {
	list, err := c.Keysets(ctx)
	if err != nil {
		return "", fmt.Errorf("reading how token %s is: %w", name, err)
	}
	for _, t := range list.Tokens {
		if t.Name == name && t.FoundSerial != "" {
			return t.FoundSerial, nil
		}
	}
	return "", fmt.Errorf("token %s was not refused for its serial number; there is nothing to accept", name)
}

// printToken prints what became of an act on a token. One that is still down is an error.
func printToken(cmd *cobra.Command, o *options, t v1.Token) error {
	if o.json {
		return printJSON(cmd.OutOrStdout(), t)
	}
	if !t.Up {
		return fmt.Errorf("token %s is still down: %s", t.Name, t.Problem)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "token %s is up, serial number %s\n", t.Name, t.Serial)
	return err
}
