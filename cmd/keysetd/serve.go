package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"keysetd.example/internal/config"
	"keysetd.example/internal/daemon"
)

const defaultConfig = "/etc/keysetd/keysetd.yaml"

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", defaultConfig, "configuration file")
}

func serveCommand() *cobra.Command {
	var path string
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Runs the daemon on an existing store (see "keysetd init") until SIGTERM or SIGINT.
Logs go to standard error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger("json")
			if err != nil {
				return err
			}
			cfg, err := config.Load(path, config.Options{})
			if err != nil {
				return err
			}
			return daemon.Run(cmd.Context(), cfg, daemon.Options{Logger: log})
		},
	}
	configFlag(cmd, &path)
	logs.add(cmd)
	return cmd
}

func initCommand() *cobra.Command {
	var path string
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the store and the first keys of every keyset",
		Long: `Makes the store with a new installation id, and on the token the first two
generations of every dynamic keyset: generation 1 active, generation 2 pending.
Nothing that exists is overwritten: with a store in place it refuses.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger("text")
			if err != nil {
				return err
			}
			cfg, err := config.Load(path, config.Options{})
			if err != nil {
				return err
			}
			return daemon.Init(cmd.Context(), cfg, log, cmd.OutOrStdout())
		},
	}
	configFlag(cmd, &path)
	logs.add(cmd)
	return cmd
}

func checkCommand() *cobra.Command {
	var path string
	var json bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, the module and the token, and print what is there",
		Long: `Reads the configuration, loads each token's module and prints the token's identity,
its mechanisms as keysetd needs them, and the keys of ours that it holds. It logs in
(once: a wrong PIN is not tried again) and changes nothing on the token.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path, config.Options{})
			if err != nil {
				return err
			}
			return daemon.Check(cmd.Context(), cfg, cmd.OutOrStdout(), json)
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&json, "json", false, "print JSON")
	return cmd
}

// logFlags are the flags by which every long-running command logs.
type logFlags struct{ level, format string }

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&f.format, "log-format", "", "text or json (default: json for serve, else text)")
}

func (f *logFlags) logger(format string) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is none of debug, info, warn, error", f.level)
	}
	if f.format != "" {
		format = f.format
	}
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q is neither text nor json", format)
}
