// Command keysetctl is the operator's tool: it asks the daemon over its Unix socket and
// prints what it says. It is pure Go and needs no token.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

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

// oneLine is how every error is printed: what it is, where in the request, on one line.
func oneLine(err error) string {
	text := "keysetctl: " + err.Error()
	if e, ok := errors.AsType[*v1.Error](err); ok && e.Field != "" {
		text += " (at " + e.Field + ")"
	}
	return strings.Join(strings.Fields(text), " ")
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
		Short: "See what keysetd has, sign by hand, look after its tokens",
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
	flags.DurationVar(&o.timeout, "timeout", 15*time.Second, "how long to wait for an answer")
	root.AddCommand(statusCommand(&o), signCommand(&o), jwksCommand(&o), pinCommand(&o), tokenCommand(&o))
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

// dial returns a client, and a context that ends when o says.
func (o *options) dial(ctx context.Context) (*client.Client, context.Context, context.CancelFunc, error) {
	c, err := client.Dial(o.socket)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("no answer within %v", o.timeout))
	return c, ctx, cancel, nil
}

// printJSON writes v, indented for people; programs do not mind.
func printJSON(w io.Writer, v any) error {
	if err := json.MarshalWrite(w, v, jsontext.WithIndent("  ")); err != nil {
		return fmt.Errorf("printing the reply: %w", err)
	}
	_, err := fmt.Fprintln(w)
	return err
}
