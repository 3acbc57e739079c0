package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"keysetd.example/internal/daemon"
	"keysetd.example/internal/dev"
)

func devCommand() *cobra.Command {
	var opts dev.Options
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run on a SoftHSM token of its own under .dev/, for trying out and for tests",
		Long: `Makes under .dev/ what is not there yet - a SoftHSM token, a random PIN in a file
that only you can read, a configuration, a store, keys - and runs the daemon on it.
The next start finds everything again. Removing the directory removes the keys.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger("text")
			if err != nil {
				return err
			}
			env, err := dev.Prepare(cmd.Context(), opts, log)
			if err != nil {
				return err
			}
			return daemon.Run(cmd.Context(), env.Config, daemon.Options{
				Logger: log,
				Load:   env.Load,
				Ready:  func(a daemon.Addresses) { welcome(cmd.OutOrStdout(), env, a) },
			})
		},
	}
	cmd.Flags().StringVar(&opts.Dir, "dir", ".dev", "directory for the token, the store and the rest")
	cmd.Flags().StringVar(&opts.Module, "module", "", "SoftHSM's library (default: where distributions put it)")
	cmd.Flags().StringVar(&opts.Public, "public", "", "listen.public of a new configuration (default 127.0.0.1:8080, or a free port if that is taken)")
	cmd.Flags().StringVar(&opts.Metrics, "metrics", "", "listen.metrics of a new configuration (default 127.0.0.1:9090, or a free port if that is taken)")
	logs.add(cmd)
	return cmd
}

// welcome prints what a person needs who has just started it. The expiry is left to
// the shell, so that the line works whenever it is pasted.
func welcome(w io.Writer, env *dev.Environment, a daemon.Addresses) {
	fmt.Fprintf(w, `
keysetd runs on a SoftHSM token. Everything is under %s
(configuration: %s); remove that directory to start anew.

  JWKS     http://%s/keysets/default/jwks.json
  metrics  http://%s/metrics
  socket   %s

Sign a JWT with the token's key - paste this into another terminal:

  curl -sS -w '\n' --unix-socket %s http://localhost/v1/keysets/default/jwt -H 'Content-Type: application/json' -d '{"alg":"ES256","claims":{"iss":"%s","sub":"alice","aud":"api","exp":'$(($(date +%%s)+300))'}}'

Ctrl-C stops it.
`, env.Dir, env.ConfigPath, a.Public, a.Metrics, a.Socket, shellQuote(a.Socket), dev.Issuer)
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
