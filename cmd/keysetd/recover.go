package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"keysetd.example/internal/daemon"
)

func recoverCommand() *cobra.Command {
	var path string
	var opts daemon.RecoverOptions
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Rebuild a store that was lost, from the labels of the keys on the tokens",
		Long: `Rebuilds a store that was lost. If there is a backup of it, put that in its place instead.

Without --write it only tells what would be, and changes nothing. Every generation whose keys
are on the tokens is published again. The second newest complete one signs until verifiers
surely know the newest. Where there is one only, that is not the first, and of static keysets, nothing
signs until verifiers surely know the key (max_age + clock_skew + verifier_cache after the start), unless
--accept-unpublished is given. Keys that were revoked stay so, if revoked.json beside the store still
tells of them. Objects of others, and those that keysetd cannot be sure of, are listed
and left alone. No keysetd may run meanwhile.

It logs in to each token (once: a wrong PIN is not tried again) and has each key sign once, as only
that proves which public key is its own. Nothing on the tokens is changed.`,
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
			opts.Command = again(path, opts)
			return daemon.Recover(cmd.Context(), cfg, opts, log, cmd.OutOrStdout())
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&opts.Installation, "installation", "", "the installation `ID` whose store was lost, where the tokens hold keys of several")
	cmd.Flags().BoolVar(&opts.Write, "write", false, "make the store")
	cmd.Flags().BoolVar(&opts.Unproven, "unproven", false, "publish public keys again also where no private half was seen to belong to them")
	cmd.Flags().BoolVar(&opts.AcceptUnpublished, "accept-unpublished", false, "let keys sign at once that verifiers may not know yet, where no other can")
	logs.add(cmd)
	return cmd
}

// again is the command that makes the store of a dry run.
func again(path string, opts daemon.RecoverOptions) string {
	words := []string{"keysetd", "recover", "--write"}
	if path != defaultConfig {
		words = append(words, "-c", quoted(path))
	}
	if opts.Installation != "" {
		words = append(words, "--installation", opts.Installation)
	}
	if opts.Unproven {
		words = append(words, "--unproven")
	}
	if opts.AcceptUnpublished {
		words = append(words, "--accept-unpublished")
	}
	return strings.Join(words, " ")
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if strings.ContainsAny(word, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return fmt.Sprintf("'%s'", strings.ReplaceAll(word, "'", `'\''`))
	}
	return word
}
