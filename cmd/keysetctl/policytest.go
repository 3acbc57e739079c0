package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// policyTestFlags say who asks, and for what.
type policyTestFlags struct {
	user     string
	uid, gid uint32
	groups   []uint
	claims   string
	request  v1.PolicyTestRequest
}

func policyTestCommand(o *options) *cobra.Command {
	var f policyTestFlags
	cmd := &cobra.Command{
		Use:   "test (--user NAME | --uid UID) --operation OPERATION --keyset KEYSET",
		Short: "Ask whether somebody may do something",
		Long: `Asks whether a user would be granted a request by the configuration in force, as the request itself
would be judged now: by the caller's grants, and by what the keyset says of purpose, algorithm, typ
and claims. Nothing is signed. How the token is, and what is left of a rate, is not looked at; of
revoke, rotate and freeze the grant alone is, and that there is such a keyset.

--gid and --groups, where they are left out, are those that this system's user database has for the
user; a service whose unit sets others has them set by hand. Without --claims those of a token that
lives for a minute are asked about. It exits with 1 where the request would be refused.`,
		Example: `  keysetctl policy test --user payroll --operation jwt --keyset default --alg ES256
  keysetctl policy test --uid 1001 --operation jwt --keyset default --claims '{"aud":"api","exp":'$(($(date +%s)+300))'}'
  keysetctl policy test --uid 1001 --operation client-assertion --keyset default --client-id payroll --audience https://as.example`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.ask(cmd)
			if err != nil {
				return err
			}
			var reply *v1.PolicyTestReply
			err = exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.PolicyTestReply, error) {
				var err error
				if reply, err = c.PolicyTest(ctx, req); err != nil {
					return nil, fmt.Errorf("testing the policy: %w", err)
				}
				return reply, nil
			}, printGranted)
			if err == nil && !reply.Granted {
				return fmt.Errorf("not granted: %s", reply.Reason)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "the user, by name")
	flags.Uint32Var(&f.uid, "uid", 0, "the user, by number")
	flags.Uint32Var(&f.gid, "gid", 0, "the user's primary group, by number (default: as this system has it)")
	flags.UintSliceVar(&f.groups, "groups", nil, "supplementary groups, by number (default: as this system has them)")
	flags.StringVar(&f.request.Operation, "operation", "", "jwt, client-assertion, sign, decrypt, read, rotate, revoke, freeze, certificate, admin")
	flags.StringVar(&f.request.Keyset, "keyset", "", "the keyset; admin has none")
	flags.StringVar(&f.request.Alg, "alg", "", "the algorithm (default: the keyset's)")
	flags.StringVar(&f.request.Typ, "typ", "", "the typ of the token (default: JWT)")
	flags.StringVar(&f.claims, "claims", "", "the claims of the token, a JSON object with exp")
	flags.StringVar(&f.request.ClientID, "client-id", "", "the client of an assertion")
	flags.StringVar(&f.request.Audience, "audience", "", "the audience of an assertion")
	flags.StringVar(&f.request.Lifetime, "lifetime", "", "how long an assertion is to live (default: 60s)")
	return cmd
}

func printGranted(out io.Writer, reply *v1.PolicyTestReply, _ time.Time) error {
	switch {
	case !reply.Granted: // which the error says
		return nil
	case reply.Rule == "":
		return printLines(out, []string{"granted without a caller: root and keysetd's own user may read"})
	}
	return printLines(out, []string{"granted by caller " + reply.Rule})
}

// ask is the request that the flags make.
func (f *policyTestFlags) ask(cmd *cobra.Command) (*v1.PolicyTestRequest, error) {
	req := f.request
	given := cmd.Flags().Changed
	var missing []string
	if !given("uid") && f.user == "" {
		missing = append(missing, "--uid or --user")
	}
	if req.Operation == "" {
		missing = append(missing, "--operation")
	}
	if req.Keyset == "" && req.Operation != "admin" {
		missing = append(missing, "--keyset")
	}
	switch {
	case len(missing) > 0:
		return nil, usagef("missing: %s; the usage is: %s", strings.Join(missing, ", "), cmd.UseLine())
	case given("uid") && f.user != "":
		return nil, usagef("--uid and --user exclude each other")
	}
	if f.claims != "" {
		if req.Claims = jsontext.Value(f.claims); !req.Claims.IsValid() {
			return nil, usagef("--claims is not JSON with each member once")
		}
	}
	for _, g := range f.groups {
		if uint64(g) >= math.MaxUint32 { // the last number is no group's
			return nil, usagef("--groups: %d is no number of a group", g)
		}
		req.Groups = append(req.Groups, uint32(g))
	}
	return &req, f.identify(&req, given("uid"), given("gid"), given("groups"))
}

// identify fills in who it is, with what the user database has where it was not given.
func (f *policyTestFlags) identify(req *v1.PolicyTestRequest, uid, gid, groups bool) error {
	req.UID, req.GID = &f.uid, &f.gid
	if uid && gid && groups {
		return nil
	}
	a, err := findAccount(f.user, f.uid)
	switch {
	case err == nil:
	case f.user != "":
		return usagef("--user %s: %v", f.user, err)
	case !gid && errors.Is(err, errNoAccount):
		return usagef("missing: --gid; this system's user database has no uid %d", f.uid)
	case !gid:
		return fmt.Errorf("looking up uid %d, whose --gid is not given: %w", f.uid, err)
	default: // a user of another system, say, with no supplementary groups
		return nil
	}
	f.uid = a.uid
	if !gid {
		f.gid = a.gid
	}
	if !groups {
		req.Groups = a.groups
	}
	return nil
}
