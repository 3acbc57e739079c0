// Command keysetd owns signing keys inside a PKCS#11 token, rotates them, publishes
// their public halves and signs with them for local callers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"keysetd.example/hsm/worker"
	"keysetd.example/internal/version"
)

func main() {
	// Who reads standard error may go away; that must not end the daemon, nor its worker.
	signal.Ignore(syscall.SIGPIPE)
	// The worker is decided before anything else is set up: it holds the vendor's
	// code and the PIN, and wants as little beside them as can be.
	if len(os.Args) == 2 && os.Args[1] == "token" {
		syscall.Exit(worker.Main())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "keysetd: %s\n", strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(exitCode(err))
	}
}

// usageError is a command line that makes no sense, as opposed to one that failed.
type usageError struct{ error }

func exitCode(err error) int {
	if _, usage := errors.AsType[usageError](err); usage {
		return 2
	}
	return 1
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keysetd",
		Short: "Keys in an HSM that rotate, sign and are published",
		Long: `keysetd owns signing keys inside a PKCS#11 token, replaces them on a schedule,
publishes their public halves as a JWKS with certificate chains, and lets
services on this host sign with them through a Unix socket.

Start with "keysetd dev": it makes a SoftHSM token, keys and a configuration
under .dev/ and runs on them.`,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; `keysetd help` lists them", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(serveCommand(), initCommand(), recoverCommand(), devCommand(), checkCommand(), caCommand(), tokenCommand())
	return cmd
}

// tokenCommand is what a person sees who types it: main has gone another way before
// for the daemon, which gives the worker a socket to speak through.
func tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "token",
		Short:  "The worker process that holds the PKCS#11 module; started by the daemon",
		Hidden: true,
		Args:   cobra.NoArgs,
		Run:    func(*cobra.Command, []string) { syscall.Exit(worker.Main()) },
	}
}
