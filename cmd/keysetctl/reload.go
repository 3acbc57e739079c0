package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func reloadCommand(o *options) *cobra.Command {
	var req v1.ReloadRequest
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have keysetd read its configuration again",
		Long: `Has keysetd read its configuration file again, prints what that changes and when it
takes effect, and goes by it. What is new to verifiers is published first, what leaves stays
published for its time. A file that does not load changes nothing.

A keyset that is gone from the file is only removed where --remove names it.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return exchange(o, cmd, toAct, func(ctx context.Context, c *client.Client) (*v1.ReloadReply, error) {
				reply, err := c.Reload(ctx, &req)
				if err != nil {
					return nil, fmt.Errorf("reloading the configuration: %w", err)
				}
				return reply, nil
			}, printReload)
		},
	}
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "print what would change, and change nothing")
	cmd.Flags().StringArrayVar(&req.Remove, "remove", nil, "remove this keyset, which is gone from the file; may be repeated")
	return cmd
}

func printReload(out io.Writer, reply *v1.ReloadReply, now time.Time) error {
	var lines []string
	for _, c := range reply.Changes {
		line := c.Change
		if c.Keyset != "" {
			line = "keyset " + c.Keyset + ": " + line
		}
		if !c.At.IsZero() {
			line += "; takes effect " + moment(c.At, now)
		}
		lines = append(lines, line)
	}
	switch {
	case reply.Applied && len(lines) == 0:
		lines = []string{"the configuration is loaded; nothing changed"}
	case reply.Applied:
		lines = append(lines, "the configuration is loaded")
	case len(lines) == 0:
		lines = []string{"nothing would change"}
	}
	return printLines(out, lines)
}
