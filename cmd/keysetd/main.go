// Command keysetd owns signing keys inside a PKCS#11 token, rotates them, publishes
// their public halves and signs with them for local callers.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"keysetd.example/hsm/worker"
	"keysetd.example/internal/version"
)

func main() {
	// The worker is decided before anything else is set up: it holds the vendor's
	// code and the PIN, and wants as little beside them as can be.
	if len(os.Args) == 2 && os.Args[1] == "token" {
		os.Exit(worker.Main())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "keysetd: %v\n", err)
		os.Exit(1)
	}
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
		Args:          cobra.NoArgs,
	}
	cmd.AddCommand(serveCommand(), initCommand(), devCommand(), checkCommand(), tokenCommand())
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
		Run:    func(*cobra.Command, []string) { os.Exit(worker.Main()) },
	}
}
