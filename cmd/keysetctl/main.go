// Command keysetctl is the operator's tool: it asks the daemon over its Unix socket and
// prints what it says. It is pure Go and needs no token.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, oneLine(err))
		os.Exit(exitCode(err))
	}
}

// usageError is a command line that makes no sense, as opposed to one that failed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func exitCode(err error) int {
	if _, usage := errors.AsType[usageError](err); usage {
		return 2
	}
	return 1
}

// oneLine is how every error is printed: what it is, where in the request and when it is
// over, on one line.
func oneLine(err error) string {
	text := "keysetctl: " + err.Error()
	if e, ok := errors.AsType[*v1.Error](err); ok {
		if e.Field != "" {
			text += " (at " + e.Field + ")"
		}
		if wait := time.Duration(e.RetryAfterMillis) * time.Millisecond; wait >= time.Second && !saysWhen(e.Detail) {
			text += "; again in " + spanUp(wait)
		}
	}
	return plain(text)
}

// saysWhen reports whether a detail tells when to ask again.
func saysWhen(detail string) bool {
	return strings.Contains(detail, "again in ") || strings.Contains(detail, "again from ")
}

// plain is text on one line, without what a terminal would act on.
func plain(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

// options are the flags of every command.
type options struct {
	socket  string
	json    bool
	timeout time.Duration
}

func rootCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "keysetctl",
		Short: "See what keysetd has and plans, sign and decrypt by hand, rotate, revoke and freeze keys, look after its tokens",
		Long: `keysetctl asks keysetd over its Unix socket. What it may do is what the
configuration grants to the user who runs it; root may read without a grant.

It exits with 0 when all went well, 1 when something failed, and 2 when the
command line makes no sense. Errors are one line on standard error.`,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; `keysetctl help` lists them", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&o.socket, "socket", "", "path of keysetd's socket (default $"+client.SocketVariable+", or "+client.DefaultSocket+")")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.DurationVar(&o.timeout, "timeout", 0, "how long to wait for an answer (default 15s, and 75s for what changes keys or configuration)")
	root.AddCommand(statusCommand(&o), signCommand(&o), decryptCommand(&o), jwksCommand(&o), keysCommand(&o), planCommand(&o), historyCommand(&o),
		rotateCommand(&o), revokeCommand(&o), freezeCommand(&o), thawCommand(&o), csrCommand(&o), certificateCommand(&o),
		reloadCommand(&o), clockCommand(&o), whoamiCommand(&o), policyCommand(&o), auditCommand(&o), pinCommand(&o), tokenCommand(&o))
	return root
}

// arguments takes from low to high of them.
func arguments(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usagef("%d arguments do not fit; the usage is: %s", len(args), cmd.UseLine())
		}
		return nil
	}
}

// How long an answer is waited for unless --timeout says: to a question, and to an act, for
// which keysetd itself takes a minute at most.
const (
	toAsk = 15 * time.Second
	toAct = 75 * time.Second
)

// within returns a context that ends after --timeout, or else after the usual time.
func (o *options) within(ctx context.Context, usual time.Duration) (context.Context, context.CancelFunc) {
	limit := cmp.Or(o.timeout, usual)
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
}

// dial returns a client, and a context as within does.
func (o *options) dial(ctx context.Context, usual time.Duration) (*client.Client, context.Context, context.CancelFunc, error) {
	c, err := client.Dial(o.socket)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := o.within(ctx, usual)
	return c, ctx, cancel, nil
}

// exchange has do ask keysetd, and prints the reply: as JSON, or as show does.
func exchange[R any](o *options, cmd *cobra.Command, usual time.Duration, do func(context.Context, *client.Client) (R, error), show func(io.Writer, R, time.Time) error) error {
	c, ctx, cancel, err := o.dial(cmd.Context(), usual)
	if err != nil {
		return err
	}
	defer cancel()
	defer c.Close()
	reply, err := do(ctx, c)
	switch {
	case err != nil:
		return err
	case o.json:
		return printJSON(cmd.OutOrStdout(), reply)
	}
	return show(cmd.OutOrStdout(), reply, time.Now())
}

// printJSON writes v, indented for people; programs do not mind.
func printJSON(w io.Writer, v any) error {
	if err := json.MarshalWrite(w, v, jsontext.WithIndent("  ")); err != nil {
		return fmt.Errorf("printing the reply: %w", err)
	}
	_, err := fmt.Fprintln(w)
	return err
}
