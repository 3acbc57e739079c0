package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
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
			if _, err := c.PINRetry(ctx, name); err != nil {
				return fmt.Errorf("allowing one more login to token %s: %w", name, err)
			}
			token, err := outcome(ctx, c, name)
			if err != nil {
				return err
			}
			return printToken(cmd, o, token)
		},
	}
}

// patience is how long a login is given before its absence is news.
const patience = 5 * time.Second

// outcome waits until the token is up, or has had time to fail.
func outcome(ctx context.Context, c *client.Client, name string) (v1.Token, error) {
	deadline := time.Now().Add(patience)
	for {
		list, err := c.Keysets(ctx)
		if err != nil {
			return v1.Token{}, fmt.Errorf("reading how token %s is: %w", name, err)
		}
		for _, t := range list.Tokens {
			if t.Name == name && (t.Up || time.Now().After(deadline)) {
				return t, nil
			}
		}
		select {
		case <-ctx.Done():
			return v1.Token{}, fmt.Errorf("waiting for token %s: %w", name, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
