package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"keysetd.example/client"
)

func pinCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pin",
		Short: "What concerns the PIN of a token",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pinRetryCommand(o))
	return cmd
}

func pinRetryCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "retry [TOKEN]",
		Short: "Log in once more to a token whose PIN was refused",
		Long: `A PIN that a token refused is never tried again by itself, over restarts too, for a
few wrong ones lock the token. Once the PIN file is right, this allows one more login and waits for
what becomes of it. TOKEN is its name in the configuration, "default" if left out.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.onToken(cmd, args, func(ctx context.Context, c *client.Client, name string) error {
				if _, err := c.PINRetry(ctx, name); err != nil {
					return fmt.Errorf("allowing one more login to token %s: %w", name, err)
				}
				return nil
			})
		},
	}
}
