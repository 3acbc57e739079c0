package daemon

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"

	"keysetd.example/hsm"
)

// Report is what Check finds, in the form of its JSON.
type Report struct {
	Tokens []TokenReport `json:"tokens"`
	// Installation tells whose keys are ours. Empty where there is no store yet, or where a
	// running daemon has it open.
	Installation string   `json:"installation,omitempty"`
	Notes        []string `json:"notes,omitempty"`
}

// TokenReport is one token.
type TokenReport struct {
	Name       string            `json:"name"`
	Module     string            `json:"module"`
	Info       hsm.Info          `json:"info"`
	Mechanisms []MechanismReport `json:"mechanisms"`
	Keys       []KeyReport       `json:"keys"`
}

// MechanismReport is one mechanism that keysetd has a use for.
type MechanismReport struct {
	Name   string `json:"name"`
	For    string `json:"for"`
	Listed bool   `json:"listed"`
	// Proved: "yes" where each algorithm signed with a key of ours and verified, "no" and why
	// where one did not, "" where there is no key to try.
	Proved string `json:"proved,omitempty"`
}

// KeyReport is one key whose label is of keysetd's form.
type KeyReport struct {
	Label string `json:"label"`
	ID    string `json:"id"`
	Spec  string `json:"spec"`
	// Ours: of this store's installation. Absent where that is not known.
	Ours *bool `json:"ours,omitempty"`
	// Problem is the attribute that breaks the rules for private keys; empty when none does.
	Problem string `json:"problem,omitempty"`
}

func (r *Report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "The configuration holds together, and every token lets keysetd log in.")
	for _, note := range r.Notes {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
	for _, t := range r.Tokens {
		fmt.Fprintf(w, "\nTOKEN %s\n", t.Name)
		fmt.Fprintf(w, "  label\t%s\n  serial\t%s\n", t.Info.Label, t.Info.Serial)
		fmt.Fprintf(w, "  model\t%s, %s, hardware %s, firmware %s\n", t.Info.Model, t.Info.Manufacturer, t.Info.HardwareVersion, t.Info.FirmwareVersion)
		fmt.Fprintf(w, "  module\t%s (%s %s)\n", t.Module, t.Info.LibraryName, t.Info.LibraryVersion)
		fmt.Fprintf(w, "  sessions\t%s\n", limitWord(t.Info.MaxSessions))
		fmt.Fprintf(w, "\n  MECHANISM\tLISTED\tPROVED\tFOR\n")
		for _, m := range t.Mechanisms {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", m.Name, yesNo(m.Listed), cmp.Or(m.Proved, "-"), m.For)
		}
		if len(t.Keys) == 0 {
			fmt.Fprintf(w, "\n  No keys of keysetd's.\n")
			continue
		}
		fmt.Fprintf(w, "\n  KEY\tOURS\tATTRIBUTES\n")
		for _, k := range t.Keys {
			attributes := "as they must be"
			if k.Problem != "" {
				attributes = k.Problem
			}
			ours := "?"
			if k.Ours != nil {
				ours = yesNo(*k.Ours)
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\n", k.Label, ours, attributes)
		}
	}
	return w.Flush()
}

func limitWord(n uint64) string {
	if n == 0 {
		return "no limit told"
	}
	return fmt.Sprintf("at most %d", n)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
