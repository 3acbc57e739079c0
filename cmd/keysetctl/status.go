package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status [KEYSET]",
		Short: "Show tokens, keysets, their generations and keys",
		Long: `Shows how the tokens are, and for each keyset that you may read its keys: which
generation they are of, its state, since when and until when. Below stands what is frozen,
what is still to come, and what is wrong. With KEYSET only that one.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.KeysetList, error) {
					list, err := c.Keysets(ctx)
					if err != nil {
						return nil, fmt.Errorf("reading the state: %w", err)
					}
					return list, nil
				}, printStatus)
			}
			return exchange(o, cmd, toAsk, func(ctx context.Context, c *client.Client) (*v1.Keyset, error) {
				return stateOf(ctx, c, args[0])
			}, func(out io.Writer, k *v1.Keyset, now time.Time) error {
				return printStatus(out, &v1.KeysetList{Keysets: []v1.Keyset{*k}}, now)
			})
		},
	}
}

func stateOf(ctx context.Context, c *client.Client, keyset string) (*v1.Keyset, error) {
	k, err := c.Keyset(ctx, keyset)
	if err != nil {
		return nil, fmt.Errorf("reading the state of keyset %s: %w", keyset, err)
	}
	return k, nil
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
	if said := remarks(list, now); len(said) > 0 {
		fmt.Fprintln(out)
		return printLines(out, said)
	}
	return nil
}

func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		c = cmp.Or(plain(c), "-")
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

// spanUp is a duration to wait: rounded up to what span shows, so that whoever waits that long has
// waited long enough.
func spanUp(d time.Duration) string {
	unit := time.Second
	switch {
	case d > 24*time.Hour:
		unit = time.Hour
	case d > time.Hour:
		unit = time.Minute
	}
	return span((d + unit - 1).Truncate(unit))
}
