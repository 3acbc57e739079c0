package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	v1 "keysetd.example/api/v1"
)

// remarks are what is to be said of tokens and keysets beside their tables.
func remarks(list *v1.KeysetList, now time.Time) (said []string) {
	for _, t := range list.Tokens {
		if t.Problem != "" {
			said = append(said, fmt.Sprintf("token %s: %s", t.Name, t.Problem))
		}
	}
	for _, k := range list.Keysets {
		said = append(said, remarksOn(k, now)...)
	}
	return said
}

// remarksOn are what is to be said of a keyset beside its keys.
func remarksOn(k v1.Keyset, now time.Time) (said []string) {
	say := func(format string, args ...any) {
		said = append(said, fmt.Sprintf("keyset %s: ", k.Name)+fmt.Sprintf(format, args...))
	}
	if k.FrozenUntil.After(now) {
		say("frozen; thaws %s", moment(k.FrozenUntil, now))
	}
	for i := 0; i < len(k.Coming); {
		at := k.Coming[i].At
		var algs []string // that come together
		for ; i < len(k.Coming) && k.Coming[i].At.Equal(at); i++ {
			algs = append(algs, k.Coming[i].Algorithm)
		}
		say("%s can be asked for %s", strings.Join(algs, ", "), moment(at, now))
	}
	for _, w := range k.Warnings {
		say("%s", w)
	}
	switch {
	case k.Problem != "":
		say("%s", k.Problem)
	case !k.Ready && k.Purpose == "enc":
		say("not ready to decrypt")
	case !k.Ready:
		say("not ready to sign")
	}
	return said
}

// printNow tells how a keyset is after an act on it.
func printNow(out io.Writer, k v1.Keyset, now time.Time) error {
	said := []string{fmt.Sprintf("keyset %s: no generation is active", k.Name)}
	if g, ok := active(k); ok {
		said[0] = fmt.Sprintf("keyset %s: generation %d is active, since %s", k.Name, g.Number, moment(g.Since, now))
	}
	if !k.NextRotation.IsZero() {
		said = append(said, fmt.Sprintf("keyset %s: the next rotation is due %s", k.Name, moment(k.NextRotation, now)))
	}
	return printLines(out, append(said, remarksOn(k, now)...))
}

func active(k v1.Keyset) (v1.Generation, bool) {
	for _, g := range k.Generations {
		if g.State == "active" {
			return g, true
		}
	}
	return v1.Generation{}, false
}

// printLines writes each of these on a line of its own.
func printLines(out io.Writer, lines []string) error {
	for i, line := range lines {
		lines[i] = plain(line)
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}
