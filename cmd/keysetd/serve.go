package main

import (
	"errors"
	"fmt"
	"io/fs"
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

func load(path string) (*config.Config, error) {
	cfg, err := config.Load(path, config.Options{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; name it with -c FILE, or try `keysetd dev`, which makes one", err)
	}
	return cfg, err
}

func serveCommand() *cobra.Command {
	var path string
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Runs the daemon on an existing store (see "keysetd init") until SIGTERM or SIGINT.
SIGHUP reopens the audit log and loads the configuration, as "keysetctl reload" does.
Logs go to standard error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger("json")
			if err != nil {
				return err
			}
			cfg, err := load(path)
			if err != nil {
				return err
			}
			return daemon.Run(cmd.Context(), cfg, daemon.Options{
				Logger: log,
				Load:   func() (*config.Config, error) { return load(path) },
			})
		},
	}
	configFlag(cmd, &path)
	logs.add(cmd)
	return cmd
}

func initCommand() *cobra.Command {
	var path string
	var beside bool
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the store and the first keys of every keyset",
		Long: `Makes the store with a new installation id, and on the token the first two
generations of every dynamic keyset: generation 1 active, generation 2 pending. Of a
static keyset it finds the keys that the configuration names.
Nothing that exists is overwritten: with a store in place it refuses. It also refuses where the
token holds keys of another installation for a keyset of the same name, for then a
store was most likely lost, and its backup is what is wanted, or "keysetd recover".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger("text")
			if err != nil {
				return err
			}
			cfg, err := load(path)
			if err != nil {
				return err
			}
			return daemon.Init(cmd.Context(), cfg, beside, log, cmd.OutOrStdout())
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&beside, "beside-others", false, "go on although the token holds keys of another installation for a keyset of this name")
	logs.add(cmd)
	return cmd
}

func checkCommand() *cobra.Command {
	var path string
	var opts daemon.CheckOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, the module and the token, and print what is there",
		Long: `Reads the configuration, loads each token's module and prints the token's identity,
its mechanisms as keysetd needs them - which of them it lists, and which proved themselves
on a key of ours - and the keys of ours that it holds, with their attributes. It logs in
(once: a wrong PIN is not tried again) and changes nothing on the token. With
--retry-pin it logs in although a PIN was refused before, which is for a person who has
corrected the PIN file while no daemon runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			return daemon.Check(cmd.Context(), cfg, cmd.OutOrStdout(), opts)
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&opts.JSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&opts.RetryPIN, "retry-pin", "", "allow one more login to this `TOKEN` although its PIN was refused")
	cmd.Flags().Lookup("retry-pin").NoOptDefVal = config.DefaultToken
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
