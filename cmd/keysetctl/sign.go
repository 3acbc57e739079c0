package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// signFlags say what is signed, by exactly one of the first five, and how.
type signFlags struct {
	claims, claimsFile, signingInput, payloadFile, digest string

	alg, kid, typ, encoding string
}

// maxInput bounds what is read from a file: more than keysetd takes.
const maxInput = 2 << 20

func signCommand(o *options) *cobra.Command {
	var f signFlags
	cmd := &cobra.Command{
		Use:   "sign KEYSET",
		Short: "Sign claims, a signing input, a payload or a digest",
		Long: `Signs with the active key of KEYSET and prints the token, or the signature in
base64url.

Claims, a JSON object with exp, come from --claims, --claims-file, or else from
standard input; "-" as a file is standard input. On keysets of purpose raw or
any, --payload-file or --digest sign bytes.`,
		Example: `  keysetctl sign default --alg ES256 --claims '{"sub":"alice","exp":'$(($(date +%s)+300))'}'
  keysetctl sign saml --alg RS256 --payload-file signedinfo.xml`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := f.source(cmd)
			if err != nil {
				return err
			}
			c, ctx, cancel, err := o.dial(cmd.Context(), toAsk)
			if err != nil {
				return err
			}
			defer cancel()
			defer c.Close()
			reply, text, err := f.sign(ctx, c, args[0], given, cmd.InOrStdin())
			switch {
			case err != nil:
				return fmt.Errorf("signing with keyset %s: %w", args[0], err)
			case o.json:
				return printJSON(cmd.OutOrStdout(), reply)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.claims, "claims", "", "claims, a JSON object; signed byte for byte")
	flags.StringVar(&f.claimsFile, "claims-file", "-", "file with the claims")
	flags.StringVar(&f.signingInput, "signing-input", "", "JWS signing input: header and claims, encoded")
	flags.StringVar(&f.payloadFile, "payload-file", "", "file with a payload, hashed by keysetd")
	flags.StringVar(&f.digest, "digest", "", "digest in base64 or base64url, as long as the algorithm's hash")
	flags.StringVar(&f.alg, "alg", "", "algorithm, as ES256 (default: the keyset's)")
	flags.StringVar(&f.kid, "kid", "", "sign with this key, or fail")
	flags.StringVar(&f.typ, "typ", "", "typ in the token's header (default: JWT)")
	flags.StringVar(&f.encoding, "encoding", "", "of an ECDSA signature over a payload or digest: jws or der (default: jws)")
	return cmd
}

var sources = []string{"claims", "claims-file", "signing-input", "payload-file", "digest"}

// source is the one flag that says what is signed.
func (f *signFlags) source(cmd *cobra.Command) (string, error) {
	given := ""
	for _, name := range sources {
		if cmd.Flags().Changed(name) {
			if given != "" {
				return "", usagef("--%s and --%s exclude each other", given, name)
			}
			given = name
		}
	}
	if given == "" {
		given = "claims-file"
	}
	raw := given == "payload-file" || given == "digest"
	if f.encoding != "" && !raw {
		return "", usagef("--encoding is for --payload-file and --digest")
	}
	if f.typ != "" && (raw || given == "signing-input") {
		return "", usagef("--typ is for claims")
	}
	return given, nil
}

// sign asks keysetd. It returns the reply and what of it is printed.
func (f *signFlags) sign(ctx context.Context, c *client.Client, keyset, given string, stdin io.Reader) (any, string, error) {
	switch given {
	case "payload-file", "digest":
		req := &v1.SignRequest{Alg: f.alg, KID: f.kid, Encoding: f.encoding}
		if given == "digest" {
			req.Digest = &f.digest
		} else {
			payload, err := readFile(f.payloadFile, stdin)
			if err != nil {
				return nil, "", err
			}
			req.Payload = new(base64.RawURLEncoding.EncodeToString(payload))
		}
		reply, err := c.Sign(ctx, keyset, req)
		if err != nil {
			return nil, "", err
		}
		return reply, reply.Signature, nil
	}
	req := &v1.JWTRequest{Alg: f.alg, KID: f.kid, SigningInput: f.signingInput}
	if given != "signing-input" {
		req.Claims = jsontext.Value(f.claims)
		if given == "claims-file" {
			raw, err := readFile(f.claimsFile, stdin)
			if err != nil {
				return nil, "", err
			}
			req.Claims = raw
		}
		if len(req.Claims) == 0 {
			return nil, "", usagef("there are no claims; give them with --claims or on standard input")
		}
	}
	if f.typ != "" {
		quoted, err := json.Marshal(f.typ)
		if err != nil {
			return nil, "", err
		}
		req.Header = map[string]jsontext.Value{"typ": quoted}
	}
	reply, err := c.SignJWT(ctx, keyset, req)
	if err != nil {
		return nil, "", err
	}
	return reply, reply.Token + reply.Signature, nil // one of them is empty
}

func readFile(path string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	case len(b) > maxInput:
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxInput)
	}
	return b, nil
}
