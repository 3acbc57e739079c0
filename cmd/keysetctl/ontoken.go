package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// onToken does an act on the token that args name, "default" if they name none, waits for
// what becomes of it, and prints how the token is then. One that is still down is an error.
func (o *options) onToken(cmd *cobra.Command, args []string, act func(context.Context, *client.Client, string) error) error {
	name := "default"
	if len(args) == 1 {
		name = args[0]
	}
	c, ctx, cancel, err := o.dial(cmd.Context(), toAsk)
	if err != nil {
		return err
	}
	defer cancel()
	defer c.Close()
	if err := act(ctx, c, name); err != nil {
		return err
	}
	token, err := outcome(ctx, c, name)
	switch {
	case err != nil:
		return err
	case o.json:
		return printJSON(cmd.OutOrStdout(), token)
	case !token.Up:
		return fmt.Errorf("token %s is still down: %s", name, token.Problem)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "token %s is up, serial number %s\n", name, token.Serial)
	return err
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
