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

func whoamiCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who keysetd takes you for, and what you may do",
		Long: `Shows the user and groups by which the kernel vouches for this process on keysetd's socket, and
the callers of the configuration that it is.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.WhoAmI, error) {
				who, err := c.WhoAmI(ctx)
				if err != nil {
					return nil, fmt.Errorf("asking who I am: %w", err)
				}
				return who, nil
			}, printWho)
		},
	}
}

func printWho(out io.Writer, who *v1.WhoAmI, _ time.Time) error {
	groups := "none"
	if len(who.Groups) > 0 {
		groups = strings.Trim(fmt.Sprint(who.Groups), "[]")
	}
	lines := []string{fmt.Sprintf("uid %d, gid %d, supplementary groups %s, pid %d", who.UID, who.GID, groups, who.PID)}
	if len(who.Grants) == 0 {
		return printLines(out, append(lines, "it is no caller of the configuration"))
	}
	if err := printLines(out, append(lines, "")); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CALLER\tKEYSETS\tOPERATIONS\tALGORITHMS\tPRIORITY\tLIMITS")
	for _, g := range who.Grants {
		row(w, g.Name, strings.Join(g.Keysets, " "), strings.Join(g.Operations, " "), strings.Join(g.Algorithms, " "), fmt.Sprint(g.Priority), limits(g))
	}
	return w.Flush()
}

// limits are what a grant holds tokens to, in one cell.
func limits(g v1.Grant) string {
	var parts []string
	for _, l := range []struct {
		name string
		list []string
	}{{"types", g.Types}, {"client_ids", g.ClientIDs}, {"audiences", g.Audiences}} {
		if len(l.list) > 0 {
			parts = append(parts, l.name+" "+strings.Join(l.list, " "))
		}
	}
	if g.Rate > 0 {
		parts = append(parts, fmt.Sprintf("%g a second, burst %d", g.Rate, g.Burst))
	}
	if g.Claims != "" {
		parts = append(parts, "claims "+g.Claims)
	}
	return strings.Join(parts, "; ")
}

func policyCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "What concerns rights",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(policyTestCommand(o))
	return cmd
}
