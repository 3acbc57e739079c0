package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func rotateCommand(o *options) *cobra.Command {
	var req v1.RotateRequest
	cmd := &cobra.Command{
		Use:   "rotate KEYSET",
		Short: "Let the pending generation sign now",
		Long: `Makes the pending generation of KEYSET the one that signs, before its time by the
calendar. keysetd refuses as long as verifiers may not know it, and says until when.

What it asks for is that the key that signs now is to sign no longer: it reads that key's kid
first and sends it. So where the reply is lost and the request is repeated, it rotates once.
To repeat it yourself, give the kid that the error names with --kid.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exchange(o, cmd, toAct, func(ctx context.Context, c *client.Client) (*v1.ActReply, error) {
				return rotate(ctx, c, args[0], req)
			}, printAct)
		},
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for the history")
	cmd.Flags().StringVar(&req.KID, "kid", "", "the key that is to sign no longer (default: the one that signs now)")
	return cmd
}

func rotate(ctx context.Context, c *client.Client, keyset string, req v1.RotateRequest) (*v1.ActReply, error) {
	if req.KID == "" {
		k, err := stateOf(ctx, c, keyset)
		if err != nil {
			return nil, err
		}
		// None where nothing signs. Then the request is not sent twice.
		if g, ok := active(*k); ok && len(g.Keys) > 0 {
			req.KID = g.Keys[0].KID
		}
	}
	reply, err := c.Rotate(ctx, keyset, &req)
	if err != nil {
		err = fmt.Errorf("rotating keyset %s: %w", keyset, err)
		if unknown(err) && req.KID != "" {
			err = fmt.Errorf("%w; it may have been done: `keysetctl rotate %s --kid %s` asks again, and rotates once", err, keyset, req.KID)
		}
		return nil, err
	}
	return reply, nil
}

// unknown reports whether what failed with err may have been done.
func unknown(err error) bool {
	_, answered := errors.AsType[*v1.Error](err)
	return !answered || errors.Is(err, client.ErrDeadlineExceeded)
}

// printAct tells what is after an act.
func printAct(out io.Writer, reply *v1.ActReply, now time.Time) error {
	return printNow(out, reply.Keyset, now)
}
