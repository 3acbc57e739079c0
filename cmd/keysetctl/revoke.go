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

func revokeCommand(o *options) *cobra.Command {
	var (
		req    v1.RevokeRequest
		keyset string
	)
	cmd := &cobra.Command{
		Use:   "revoke KID --reason REASON\n  keysetctl revoke --all --keyset KEYSET --reason REASON",
		Short: "Take a key out of service at once and for good",
		Long: `Revokes the key KID: from now on it signs nothing and stands in no JWKS, and its object
on the token is destroyed. KID may also be one that the key has for one algorithm. One
that begins with - goes last, behind --.

If it is the key that signs, the pending one takes over if verifiers surely know it. Otherwise
the keyset does not sign until they do, or, with --accept-unpublished, the next key signs
at once and some verifiers refuse it until they fetch the page again.

The reply tells until when pages that verifiers hold may still have the revoked key.`,
		Example: `  keysetctl revoke FKLRsurhbOF8tqkN4rkwVUxB12MIsxGs5xmSdbWlRI8 --reason 'laptop stolen'
  keysetctl revoke --reason 'laptop stolen' -- -KLRsurhbOF8tqkN4rkwVUxB12MIsxGs5xmSdbWlRI8`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				req.KID = args[0]
			}
			switch {
			case req.All && req.KID != "":
				return usagef("--all revokes every key; leave out the kid, or --all")
			case !req.All && req.KID == "":
				return usagef("which key? give its kid, as `keysetctl status` shows it, or --all and --keyset")
			case req.All && keyset == "":
				return usagef("--all is for one keyset; name it with --keyset")
			case req.Reason == "":
				return usagef("--reason is missing: it stands in the history for good")
			}
			return exchange(o, cmd, toAct, func(ctx context.Context, c *client.Client) (*v1.ActReply, error) {
				return revoke(ctx, c, keyset, &req)
			}, printRevoked)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&req.All, "all", false, "revoke every key of the keyset")
	flags.IntVar(&req.Through, "through", 0, "with --all: the newest generation that goes (default: the newest there is now)")
	flags.StringVar(&keyset, "keyset", "", "the keyset of the key (default: the one that has it)")
	flags.StringVar(&req.Reason, "reason", "", "why, for the history")
	flags.BoolVar(&req.AcceptUnpublished, "accept-unpublished", false, "let the next key sign although verifiers may not know it yet")
	flags.BoolVar(&req.KeepObject, "keep-object", false, "leave the key on the token")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usagef("%w; a kid that begins with - goes last, behind --", err)
	})
	return cmd
}

func revoke(ctx context.Context, c *client.Client, keyset string, req *v1.RevokeRequest) (*v1.ActReply, error) {
	what := "every key of keyset " + keyset
	if !req.All {
		what = "key " + req.KID
	}
	if keyset == "" {
		list, err := c.Keysets(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for the keyset of key %s, which --keyset would tell: %w", req.KID, err)
		}
		if keyset, err = keysetWith(list.Keysets, req.KID); err != nil {
			return nil, err
		}
	}
	if req.All && req.Through == 0 {
		k, err := stateOf(ctx, c, keyset)
		if err != nil {
			return nil, err
		}
		for _, g := range k.Generations {
			req.Through = max(req.Through, g.Number)
		}
	}
	reply, err := c.Revoke(ctx, keyset, req)
	if err != nil {
		err = fmt.Errorf("revoking %s: %w", what, err)
		if unknown(err) {
			again := "revoke it again"
			if req.All {
				again = fmt.Sprintf("revoke them again with --through %d, which spares what was made since", req.Through)
			}
			err = fmt.Errorf("%w; it may have been done: %s, which does no harm", err, again)
		}
		return nil, err
	}
	return reply, nil
}

// printRevoked tells what was revoked, what verifiers do until they know, and what is now.
func printRevoked(out io.Writer, reply *v1.ActReply, now time.Time) error {
	var lines []string
	for _, k := range reply.Revoked {
		object := "its object on the token goes too"
		if k.Kept {
			object = "its object is left on the token"
		}
		lines = append(lines, fmt.Sprintf("key %s: revoked %s by %s: %s; %s", k.KID, moment(k.At, now), k.By, k.Reason, object))
	}
	if reply.AcceptedUntil.After(now) {
		lines = append(lines, "cached pages may still show a revoked key as good; the last one ends "+moment(reply.AcceptedUntil, now))
	} else {
		lines = append(lines, "no cached page shows a revoked key as good")
	}
	if reply.RefusedUntil.After(now) {
		lines = append(lines, "cached pages may lack the key that signs now, and who holds one refuses it; the last one ends "+moment(reply.RefusedUntil, now))
	}
	if err := printLines(out, lines); err != nil {
		return err
	}
	return printNow(out, reply.Keyset, now)
}
