package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
)

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status [KEYSET]",
		Short: "Show tokens, keysets, their generations and keys",
		Long: `Shows how the tokens are, and for each keyset that you may read its keys: which
generation they are of, its state, since when and until when. With KEYSET only
that one.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, ctx, cancel, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer cancel()
			defer c.Close()
			if len(args) == 0 {
				list, err := c.Keysets(ctx)
				if err != nil {
					return fmt.Errorf("reading the state: %w", err)
				}
				if o.json {
					return printJSON(cmd.OutOrStdout(), list)
				}
				return printStatus(cmd.OutOrStdout(), list, time.Now())
			}
			keyset, err := c.Keyset(ctx, args[0])
			if err != nil {
				return fmt.Errorf("reading the state of keyset %s: %w", args[0], err)
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), keyset)
			}
			return printStatus(cmd.OutOrStdout(), &v1.KeysetList{Keysets: []v1.Keyset{*keyset}}, time.Now())
		},
	}
}

// printStatus writes the tables that a person reads. Each row is whole, so that grep
// shows what it means.
func printStatus(out io.Writer, list *v1.KeysetList, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(list.Tokens) > 0 {
		fmt.Fprintln(w, "TOKEN\tSTATE\tLABEL\tSERIAL\tMODEL\tSINCE")
		for _, t := range list.Tokens {
			state := "up"
			if !t.Up {
				state = "down"
			}
			row(w, t.Name, state, t.Label, t.Serial, t.Model, moment(t.Since, now))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "KEYSET\tGENERATION\tSTATE\tSPEC\tKID\tSINCE\tUNTIL")
	for _, k := range list.Keysets {
		if len(k.Generations) == 0 {
			row(w, k.Name, "", "none", "", "", "", "")
		}
		for _, g := range k.Generations {
			for _, key := range g.Keys {
				state := g.State
				if !key.Lost.IsZero() {
					state += ", LOST"
				}
				row(w, k.Name, fmt.Sprint(g.Number), state, key.Spec, key.KID, moment(g.Since, now), moment(g.Until, now))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printProblems(out, list)
}

func printProblems(out io.Writer, list *v1.KeysetList) error {
	separator := "\n"
	say := func(format string, args ...any) (err error) {
		_, err = fmt.Fprintf(out, separator+format+"\n", args...)
		separator = ""
		return err
	}
	for _, t := range list.Tokens {
		if t.Problem != "" {
			if err := say("token %s: %s", t.Name, t.Problem); err != nil {
				return err
			}
		}
	}
	for _, k := range list.Keysets {
		problem := k.Problem
		if problem == "" && !k.Ready && k.Purpose != "enc" {
			problem = "not ready to sign"
		}
		if problem != "" {
			if err := say("keyset %s: %s", k.Name, problem); err != nil {
				return err
			}
		}
	}
	return nil
}

func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		if i > 0 {
			c = "\t" + c
		}
		fmt.Fprint(w, c)
	}
	fmt.Fprintln(w)
}

// moment is a time as people think of it, and as it is.
func moment(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	relative := "now"
	switch d := t.Sub(now); {
	case d >= time.Second:
		relative = "in " + span(d)
	case d <= -time.Second:
		relative = span(-d) + " ago"
	}
	return fmt.Sprintf("%s (%s)", relative, t.UTC().Format(time.RFC3339))
}

// span is a duration in its two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}
