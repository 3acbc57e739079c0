package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func whoamiCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who keysetd takes you for, and what you may do",
		Long: `Shows the user and groups by which the kernel vouches for this process on keysetd's socket, and
the entries under callers: that are for them.`,
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
		return printLines(out, append(lines, "no entry under callers: is for it"))
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

func policyTestCommand(o *options) *cobra.Command {
	var req v1.PolicyTestRequest
	var groups []uint
	var claims string
	cmd := &cobra.Command{
		Use:   "test --uid UID --operation OPERATION --keyset KEYSET",
		Short: "Ask whether somebody may do something",
		Long: `Asks whether a user would be granted an operation by the configuration in force, with this algorithm,
typ, client id and these claims. Nothing is signed, and no rate is used up. It exits with 1 where it
is not granted.`,
		Example: `  keysetctl policy test --uid 1001 --operation jwt --keyset default --alg ES256 --claims '{"aud":"api","exp":1}'`,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("uid") || req.Operation == "" {
				return usagef("--uid and --operation are missing; the usage is: %s", cmd.UseLine())
			}
			for _, g := range groups {
				req.Groups = append(req.Groups, uint32(g))
			}
			if req.Claims = jsontext.Value(claims); claims != "" && !req.Claims.IsValid() {
				return usagef("--claims is not JSON with each member once")
			}
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.PolicyTestReply, error) {
				reply, err := c.PolicyTest(ctx, &req)
				if err != nil {
					return nil, fmt.Errorf("testing the policy: %w", err)
				}
				if !reply.Granted && !o.json {
					return nil, fmt.Errorf("not granted: %s", reply.Reason)
				}
				return reply, nil
			}, func(out io.Writer, reply *v1.PolicyTestReply, _ time.Time) error {
				return printLines(out, []string{fmt.Sprintf("granted by caller %s", reply.Rule)})
			})
		},
	}
	flags := cmd.Flags()
	flags.Uint32Var(&req.UID, "uid", 0, "the user")
	flags.Uint32Var(&req.GID, "gid", 0, "the user's primary group")
	flags.UintSliceVar(&groups, "groups", nil, "supplementary groups, by number")
	flags.StringVar(&req.Operation, "operation", "", "jwt, client-assertion, sign, read, rotate, revoke, freeze, admin")
	flags.StringVar(&req.Keyset, "keyset", "", "the keyset")
	flags.StringVar(&req.Alg, "alg", "", "the algorithm")
	flags.StringVar(&req.Typ, "typ", "", "the typ of the token")
	flags.StringVar(&req.ClientID, "client-id", "", "the client of an assertion")
	flags.StringVar(&claims, "claims", "", "the claims of the token, as JSON")
	return cmd
}
