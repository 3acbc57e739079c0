package daemon

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"keysetd.example/hsm"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

// whoseStore finds out whose store is to be rebuilt: asked for, or the only installation of
// which there are private keys. A public key anybody may have laid there.
func whoseStore(objects map[string][]hsm.Object, asked, path string) (string, error) {
	keys, keysets := map[string]int{}, map[string][]string{}
	for _, list := range objects {
		for _, o := range list {
			if l, err := rotation.ParseLabel(o.Label); err == nil && o.Private && store.IsInstallation(l.Installation) {
				keys[l.Installation]++
				if !slices.Contains(keysets[l.Installation], l.Keyset) {
					keysets[l.Installation] = append(keysets[l.Installation], l.Keyset)
				}
			}
		}
	}
	var parts []string
	for _, id := range sortedKeys(keys) {
		slices.Sort(keysets[id])
		parts = append(parts, fmt.Sprintf("%s (%d keys, of keysets %s)", id, keys[id], strings.Join(keysets[id], ", ")))
	}
	there := strings.Join(parts, " and ")
	switch {
	case len(keys) == 0:
		return "", errors.New("no token holds a private key of keysetd's, so there is nothing to recover: `keysetd init` makes a store and the first keys")
	case asked == "" && len(keys) == 1:
		return sortedKeys(keys)[0], nil
	case asked == "":
		hint := ""
		if owner, _, err := store.ReadRevocations(store.RevocationsPath(path)); err == nil {
			hint = fmt.Sprintf("; %s is of %s", store.RevocationsPath(path), owner)
		}
		return "", fmt.Errorf("the tokens hold keys of several installations: %s%s; say which one lost its store by --installation ID", there, hint)
	case keys[asked] == 0:
		return "", fmt.Errorf("--installation %s: no token holds a private key of it; those there are: %s", asked, there)
	}
	return asked, nil
}

// recovery is what Recover reports.
type recovery struct {
	RecoverOptions // Installation filled in
	rotation.Rebuilt
	path        string // of the store
	exists      bool
	revocations int // that were read; -1: there is no file of them
}

func (r recovery) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if r.Write {
		fmt.Fprintf(w, "Made %s for installation %s, from what is on the tokens:\n\n", r.path, r.Installation)
	} else {
		fmt.Fprintf(w, "DRY RUN: nothing is changed. For installation %s the store would be, from what is on the tokens:\n\n", r.Installation)
	}
	fmt.Fprintf(w, "KEYSET\tGENERATION\tSTATE\tSPEC\tTOKEN\tKID\n")
	for _, k := range r.Keysets {
		if len(k.Generations) == 0 {
			fmt.Fprintf(w, "%s\t-\tnone\t-\t-\t-\n", k.Keyset)
		}
		for _, g := range k.Generations {
			for _, key := range g.Keys {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", k.Keyset, g.Number, g.State, key.Spec, key.Token, key.KID)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	r.printLeft(w)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	r.printNotes(w)
	switch {
	case r.Write:
		fmt.Fprintf(w, "\nNext: `keysetd serve`. The history before today, limits and freezes are lost with the old store.\n")
	case r.exists:
		fmt.Fprintf(w, "\nThis was a dry run. The store %s exists: if it is damaged, move it away, and then make this one with\n\n  %s\n", r.path, r.Command)
	default:
		fmt.Fprintf(w, "\nThis was a dry run. If a backup of the store exists, put that at %s instead. To make this one:\n\n  %s\n", r.path, r.Command)
	}
	return w.Flush()
}

// printLeft lists the objects that are in no keyset.
func (r recovery) printLeft(w io.Writer) {
	if len(r.Left) == 0 {
		return
	}
	fmt.Fprintf(w, "\nLeft alone on the tokens, and never touched:\n\nTOKEN\tLABEL\tCKA_ID\tWHY\n")
	for _, o := range r.Left {
		fmt.Fprintf(w, "%s\t%q\t%x\t%s\n", o.Token, o.Label, o.ID, o.Why)
	}
}

// printNotes tells what a person has to know, the worst first.
func (r recovery) printNotes(w io.Writer) {
	path := store.RevocationsPath(r.path)
	switch {
	case r.revocations < 0:
		fmt.Fprintf(w, "WARNING: the revocations are lost too: %s is not there, or is another installation's.\n"+
			"A key that was revoked and whose object was kept on the token COMES BACK: it is published again and may sign.\n"+
			"If any was revoked, put a backup of that file in its place first, or revoke it again right after the start.\n", path)
	case r.revocations > 0:
		fmt.Fprintf(w, "Note: %d keys stay revoked, as %s says.\n", r.revocations, path)
	}
	for _, k := range r.Keysets {
		if k.Silence != "" {
			fmt.Fprintf(w, "WARNING: keyset %s: %s.\n", k.Keyset, k.Silence)
		}
	}
	for _, k := range r.Keysets {
		for _, note := range k.Notes {
			fmt.Fprintf(w, "Note: keyset %s: %s.\n", k.Keyset, note)
		}
	}
	if slices.ContainsFunc(r.Left, func(o rotation.LeftAlone) bool { return o.Unproven }) {
		fmt.Fprintf(w, "Note: public keys were left alone that no private half was seen to belong to. Tokens that one of them signed are refused.\n"+
			"If you know every kid of them, from an old copy of the JWKS, --unproven publishes them again.\n")
	}
	fmt.Fprintf(w, "Note: certificates that keys sign themselves are made anew, others are gone until the next generation.\n")
}
