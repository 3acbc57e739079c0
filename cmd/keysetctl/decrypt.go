package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
)

func decryptCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "decrypt KEYSET [FILE]",
		Short: "Decrypt a compact JWE that was encrypted to a keyset",
		Long: `Decrypts with the key of KEYSET that the message names, or a key that can do its
algorithm, and writes the plaintext as it is. The message, a JWE in compact form, is
read from FILE or standard input.`,
		Example: `  keysetctl decrypt enc message.jwe`,
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := "-"
			if len(args) > 1 {
				from = args[1]
			}
			message, err := readFile(from, cmd.InOrStdin())
			if err != nil {
				return err
			}
			c, ctx, cancel, err := o.dial(cmd.Context(), toAsk)
			if err != nil {
				return err
			}
			defer cancel()
			defer c.Close()
			reply, err := c.Decrypt(ctx, args[0], &v1.DecryptRequest{JWE: strings.TrimSpace(string(message))})
			switch {
			case err != nil:
				return fmt.Errorf("decrypting with keyset %s: %w", args[0], err)
			case o.json:
				return printJSON(cmd.OutOrStdout(), reply)
			case reply.Plaintext == nil:
				return errors.New("keysetd's reply has no plaintext")
			}
			plaintext, err := base64.RawURLEncoding.DecodeString(*reply.Plaintext)
			if err != nil {
				return errors.New("keysetd's reply is not in base64url")
			}
			_, err = cmd.OutOrStdout().Write(plaintext)
			return err
		},
	}
}
