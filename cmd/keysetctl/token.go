package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

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
			return o.onToken(cmd, args, func(ctx context.Context, c *client.Client, name string) (err error) {
				accepted := serial
				if accepted == "" {
					if accepted, err = foundSerial(ctx, c, name); err != nil {
						return err
					}
				}
				if _, err := c.Accept(ctx, name, accepted); err != nil {
					return fmt.Errorf("accepting serial number %s for token %s: %w", accepted, name, err)
				}
				return nil
			})
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
