package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keysetd.example/internal/audit"
)

func auditCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "What concerns the audit log",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(auditVerifyCommand(o))
	return cmd
}

// maxFiles bounds what one command line names.
const maxFiles = 100_000

func auditVerifyCommand(o *options) *cobra.Command {
	var opts audit.VerifyOptions
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check that an audit log is as it was written",
		Long: `Reads the files of an audit log, in any order and compressed by gzip or not, and follows the chain
of hashes through them. It needs neither keysetd nor the token. The first line that was changed, moved,
inserted or cut is named.

--head is a checkpoint from the journal, best the last one; each that is given must hold. Without it
lines that are missing at the end would not be found. --kid is the thumbprint of the first audit key,
and of each that took over in an emergency; without it the log's own word is taken for the key. It
exits with 0 where nothing is wrong, 1 where something is, or where nothing is proven although a key
or a head was given, and 2 where a file or a head cannot be read.`,
		Example: `  keysetctl audit verify /var/log/keysetd/audit.jsonl* --kid THUMBPRINT --head "$(journalctl -u keysetd -o cat |
    jq -Rr 'fromjson? | objects | select(.msg == "audit checkpoint").checkpoint' | tail -n 1)"`,
		Args: arguments(1, maxFiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(opts.Heads, "") {
				return usageError{errors.New("--head is empty: no checkpoint was found where it was taken from; leave the flag out only if there is none")}
			}
			if slices.Contains(opts.KIDs, "") || cmd.Flags().Changed("kid") && len(opts.KIDs) == 0 {
				return usageError{errors.New("--kid is empty; it is the thumbprint of an audit key")}
			}
			report, err := audit.Verify(args, opts)
			if err != nil {
				return usageError{err}
			}
			if o.json {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				err = printVerified(cmd.OutOrStdout(), report)
			}
			if report.Fault != nil {
				return errors.Join(report.Fault, err)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&opts.Heads, "head", nil, "a checkpoint that was kept elsewhere; each must hold")
	flags.StringSliceVar(&opts.KIDs, "kid", nil, "thumbprint of an audit key that is trusted")
	return cmd
}

// printVerified says on one line what is proven, then what keysetd itself found, and on one more what is not.
func printVerified(out io.Writer, r *audit.Report) error {
	proven := fmt.Sprintf("%d lines, %d to %d, %s to %s: chained", r.Lines, r.First, r.Last, stamp(r.From), stamp(r.To))
	if r.Lines == 0 {
		proven = "no lines"
	}
	if r.Fault != nil && (len(r.Declared) == 0 || *r.Fault != r.Declared[0]) {
		proven = "up to the fault: " + proven
	}
	if r.Covered > 0 {
		var keys []string
		for _, k := range r.Keys {
			keys = append(keys, fmt.Sprintf("%s (%d)", k.KID, k.Checkpoints))
		}
		proven += fmt.Sprintf("; proven up to line %d by the checkpoints of %s", r.Covered, strings.Join(keys, ", "))
	}
	if len(r.Torn) > 0 {
		proven += fmt.Sprintf("; torn pieces that are declared: %d", len(r.Torn))
	}
	lines := []string{proven}
	for _, f := range r.Declared {
		lines = append(lines, "keysetd found when it started: "+f.Error())
	}
	if len(r.Unproven) > 0 {
		lines = append(lines, "not proven: "+strings.Join(r.Unproven, "; "))
	}
	return printLines(out, lines)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
