package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"keysetd.example/client"
)

func clockCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "What concerns the host's clock",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(clockAcceptCommand(o))
	return cmd
}

func clockAcceptCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "accept",
		Short: "Accept that the clock is right although it made a step",
		Long: `After the clock made a step, or where it is behind what keysetd has on record, nothing
is activated, retired or destroyed until it agrees again. Once you are sure that the clock is right as
it is now, this accepts it, and what is due by it is done.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return exchange(o, cmd, toAct, func(ctx context.Context, c *client.Client) (struct{}, error) {
				if err := c.AcceptClock(ctx); err != nil {
					return struct{}{}, fmt.Errorf("accepting the clock: %w", err)
				}
				return struct{}{}, nil
			}, func(out io.Writer, _ struct{}, _ time.Time) error {
				return printLines(out, []string{"the clock is accepted as it is; rotation goes on by it"})
			})
		},
	}
}
