package keysetdtest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"keysetd.example/client/keysetdtest/internal/process"
	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/config"
	"keysetd.example/internal/daemon"
)

// report is what the daemon's process says on standard output, once: where it listens, or why not.
type report struct {
	Public string
	Error  string
}

// init makes of a process that start started the daemon, and never returns there: see package process.
func init() {
	if os.Getenv(process.Variable) == process.Daemon {
		os.Exit(serve(os.Args[len(os.Args)-1]))
	}
}

// serve is the daemon's process, and returns its exit code. It ends when standard input does, which
// is when the test closes it, or has ended.
func serve(dir string) int {
	signal.Ignore(syscall.SIGPIPE) // nobody may read the log any more
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if _, err := os.Stat(configIn(dir)); err == nil { // else it is none of ours
		defer os.RemoveAll(dir)
	}
	tell := json.NewEncoder(os.Stdout)
	if err := run(ctx, dir, func(a daemon.Addresses) { tell.Encode(report{Public: a.Public}) }); err != nil {
		tell.Encode(report{Error: err.Error()})
		return 1
	}
	return 0
}

// run makes the token and the keys that the configuration in dir asks for, and is the daemon on
// them until ctx ends.
func run(ctx context.Context, dir string, ready func(daemon.Addresses)) error {
	load := func() (*config.Config, error) { return config.Load(configIn(dir), config.Options{}) }
	cfg, err := load()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := initToken(ctx, dir, cfg.Tokens[config.DefaultToken], log); err != nil {
		return err
	}
	if err := daemon.Init(ctx, cfg, false, log, io.Discard); err != nil {
		return err
	}
	return daemon.Run(ctx, cfg, daemon.Options{Logger: log, Load: load, Ready: ready})
}

func initToken(ctx context.Context, dir string, token config.Token, log *slog.Logger) error {
	pin, err := hsm.FilePIN(filepath.Join(dir, pinFile))(ctx)
	if err != nil {
		return err
	}
	soPIN, err := hsm.FilePIN(filepath.Join(dir, soPINFile))(ctx)
	if err != nil {
		return err
	}
	cfg := hsm.Config{
		Name:        config.DefaultToken,
		Open:        wire.OpenRequest{Module: token.Module},
		Environment: token.Environment,
		Logger:      log,
	}
	_, err = hsm.InitToken(ctx, cfg, token.Label, soPIN, pin)
	if err != nil {
		return fmt.Errorf("making a SoftHSM token: %w", cmp.Or(context.Cause(ctx), err))
	}
	return nil
}
