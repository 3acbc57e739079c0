package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func planCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "plan KEYSET",
		Short: "Show what will happen to a keyset",
		Long:  `Shows the steps to come of KEYSET, and when, if nothing else happens.`,
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.Plan, error) {
				plan, err := c.Plan(ctx, args[0])
				if err != nil {
					return nil, fmt.Errorf("reading the plan of keyset %s: %w", args[0], err)
				}
				return plan, nil
			}, printPlan)
		},
	}
}

func printPlan(out io.Writer, plan *v1.Plan, now time.Time) error {
	if len(plan.Steps) == 0 {
		_, err := fmt.Fprintln(out, "nothing is due by time; `keysetctl status` says what a person may have to do")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN\tSTEP\tGENERATION\tREASON")
	for _, s := range plan.Steps {
		row(w, moment(s.At, now), s.Step, ordinal(s.Generation), s.Reason)
	}
	return w.Flush()
}

func historyCommand(o *options) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "history KEYSET",
		Short: "Show what happened to a keyset",
		Long:  `Shows what happened to KEYSET, when, by whom and why, the newest last.`,
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("limit") && limit < 1 {
				return usagef("--limit %d is less than 1", limit)
			}
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.History, error) {
				history, err := c.History(ctx, args[0], limit)
				if err != nil {
					return nil, fmt.Errorf("reading the history of keyset %s: %w", args[0], err)
				}
				return history, nil
			}, printHistory)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "show so many of the newest events (default 100, at most 1000)")
	return cmd
}

func printHistory(out io.Writer, history *v1.History, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN\tWHAT\tGENERATION\tBY\tWHY\tKIDS")
	for _, e := range history.Events {
		row(w, moment(e.At, now), e.What, ordinal(e.Generation), e.By, e.Why, strings.Join(e.KIDs, " "))
	}
	return w.Flush()
}

// ordinal is the number of a generation, if it is one's.
func ordinal(generation int) string {
	if generation == 0 {
		return ""
	}
	return fmt.Sprint(generation)
}
