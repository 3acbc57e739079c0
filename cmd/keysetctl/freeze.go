package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func freezeCommand(o *options) *cobra.Command {
	var until, reason string
	cmd := &cobra.Command{
		Use:   "freeze KEYSET",
		Short: "Keep a keyset as it is for a while",
		Long: `Until the time given nothing of KEYSET is activated on schedule and nothing leaves its
page, and ` + "`keysetctl rotate`" + ` is refused. A freeze replaces the one before. Revoking a key goes on working.`,
		Example: `  keysetctl freeze default --until 2d --reason 'partner migrates'
  keysetctl freeze default --until 2026-12-24T08:00:00Z`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := instant(until, time.Now())
			if err != nil {
				return err
			}
			return exchange(o, cmd, toAct, func(ctx context.Context, c *client.Client) (*v1.ActReply, error) {
				reply, err := c.Freeze(ctx, args[0], &v1.FreezeRequest{Until: end, Reason: reason})
				if err != nil {
					return nil, fmt.Errorf("freezing keyset %s: %w", args[0], err)
				}
				return reply, nil
			}, printAct)
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "when it ends: a time (RFC 3339), or how long from now, as in 90m or 2d")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the history")
	return cmd
}

func thawCommand(o *options) *cobra.Command {
	var req v1.ThawRequest
	cmd := &cobra.Command{
		Use:   "thaw KEYSET",
		Short: "End a freeze",
		Long:  `Ends the freeze of KEYSET. What became due meanwhile is done now.`,
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exchange(o, cmd, toAct, func(ctx context.Context, c *client.Client) (*v1.ActReply, error) {
				reply, err := c.Thaw(ctx, args[0], &req)
				if err != nil {
					return nil, fmt.Errorf("thawing keyset %s: %w", args[0], err)
				}
				return reply, nil
			}, printAct)
		},
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for the history")
	return cmd
}

// maxDays keeps the time that days come to within what a time.Duration holds.
const maxDays = 36500

// instant reads a time in the future: in RFC 3339, or as a duration from now, Go's or in days
// of 24 hours.
func instant(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, usagef("--until is missing: give a time (RFC 3339), or how long from now, as in 90m or 2d")
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d, err := time.ParseDuration(s)
		if number, inDays := strings.CutSuffix(s, "d"); inDays {
			var days float64
			days, err = strconv.ParseFloat(number, 64)
			if err == nil && !(days > 0 && days <= maxDays) { // or no number at all
				return time.Time{}, usagef("--until %q is not between now and a hundred years from now", s)
			}
			d = time.Duration(days * float64(24*time.Hour))
		}
		if err != nil {
			return time.Time{}, usagef("--until %q is neither a time, as 2026-12-24T08:00:00Z (RFC 3339), nor a duration, as 90m or 2d", s)
		}
		t = now.Add(d)
	}
	if !t.After(now) {
		return time.Time{}, usagef("--until %q is not in the future; to end a freeze use `keysetctl thaw`", s)
	}
	return t, nil
}
