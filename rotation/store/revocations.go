package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"keysetd.example/rotation"
)

// Revocations are kept a second time, in a file of their own beside the store, so that a
// revoked key stays dead also where the store is lost and rebuilt (invariant 6).

const revocationsFormat = 1

// KeysetRevocation is a revoked key, and of which keyset it was.
type KeysetRevocation struct {
	Keyset string `json:"keyset"`
	rotation.Revocation
}

type revocations struct {
	Format       int                `json:"format"`
	Installation string             `json:"installation"`
	Revoked      []KeysetRevocation `json:"revoked"`
}

// RevocationsPath is the path of the file for the store at storePath.
func RevocationsPath(storePath string) string {
	return filepath.Join(filepath.Dir(storePath), "revoked.json")
}

// WriteRevocations writes the revocations of an installation to the file at path. If it holds
// them already it does nothing. What it holds beside them stays, as no key is ever revoked no
// longer, and a store may have been replaced by an older backup. A file of another
// installation is not written over but moved aside: kept is its name then, path.INSTALLATION or the
// next that is free. One that cannot be read is an error, for nobody knows what it says.
//
// The file is the old one or the new one, whole, at any time; when it returns nil it is the new one for good:
//
//	write(PATH.*.new), fsync, rename(…, PATH), fsync(directory)
func WriteRevocations(path, installation string, all []KeysetRevocation) (kept string, err error) {
	if kept, err = writeRevocations(path, installation, all); err != nil {
		return kept, fmt.Errorf("writing the revocations to %s: %w", path, err)
	}
	return kept, nil
}

func writeRevocations(path, installation string, all []KeysetRevocation) (kept string, err error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	known, _, err := gatherRevocations(path, installation)
	if err != nil {
		return "", err
	}
	content, err := encodeRevocations(installation, mergeRevocations(all, known))
	if err != nil || bytes.Equal(old, content) {
		return "", err
	}
	if old != nil {
		file, err := decodeRevocations(old)
		if err != nil {
			return "", err
		}
		if file.Installation != installation {
			if kept, err = keep(path, path+"."+file.Installation); err != nil {
				return "", fmt.Errorf("keeping the file that is there, of installation %s: %w", file.Installation, err)
			}
		}
	}
	temp, err := writeTemp(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return kept, err
	}
	if err := os.Rename(temp, path); err != nil {
		return kept, errors.Join(err, os.Remove(temp))
	}
	return kept, syncDirectory(filepath.Dir(path))
}

// gatherRevocations reads the revocations of an installation from the file at path, and from
// where WriteRevocations moved such a file when it was another installation's turn. found
// tells whether there is any.
func gatherRevocations(path, installation string) (all []KeysetRevocation, found bool, err error) {
	read := func(name string) (exists bool, err error) {
		owner, list, err := ReadRevocations(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return true, err
		case owner == installation:
			all, found = mergeRevocations(all, list), true
		}
		return true, nil
	}
	if _, err := read(path); err != nil {
		return nil, false, err
	}
	for n := 1; ; n++ {
		if exists, err := read(keptName(path+"."+installation, n)); err != nil || !exists {
			return all, found, err
		}
	}
}

// mergeRevocations adds to all what known has beside them.
func mergeRevocations(all, known []KeysetRevocation) []KeysetRevocation {
	merged := slices.Clone(all)
	for _, r := range known {
		if !slices.ContainsFunc(all, func(have KeysetRevocation) bool {
			return have.Keyset == r.Keyset && have.KID == r.KID && bytes.Equal(have.ID, r.ID)
		}) {
			merged = append(merged, r)
		}
	}
	return merged
}

func encodeRevocations(installation string, all []KeysetRevocation) ([]byte, error) {
	sorted := append([]KeysetRevocation{}, all...) // [] and not null where there are none
	slices.SortStableFunc(sorted, func(a, b KeysetRevocation) int {
		return cmp.Or(cmp.Compare(a.Keyset, b.Keyset), a.At.Compare(b.At), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.KID, b.KID))
	})
	file := revocations{revocationsFormat, installation, sorted}
	if err := file.check(); err != nil {
		return nil, err
	}
	content, err := json.MarshalIndent(file, "", "  ")
	return append(content, '\n'), err
}

func decodeRevocations(content []byte) (revocations, error) {
	var file revocations
	if err := strict(content, &file); err != nil {
		return revocations{}, err
	}
	return file, file.check()
}

// ReadRevocations reads the file at path. Where there is none the error wraps fs.ErrNotExist. What it
// does not understand in full is an error too: half the revocations are worth nothing.
func ReadRevocations(path string) (installation string, all []KeysetRevocation, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("reading the revocations: %w", err)
	}
	file, err := decodeRevocations(content)
	if err != nil {
		return "", nil, fmt.Errorf("reading the revocations in %s: %w", path, err)
	}
	return file.Installation, file.Revoked, nil
}

// FindRevocations reads the revocations of an installation from the file beside the store at
// storePath, also if that is another installation's: then from where WriteRevocations moved its own.
// Where nothing has them the error wraps fs.ErrNotExist. A file that cannot be read is an error.
func FindRevocations(storePath, installation string) ([]KeysetRevocation, error) {
	path := RevocationsPath(storePath)
	all, found, err := gatherRevocations(path, installation)
	if err == nil && !found {
		err = fmt.Errorf("%s has no revocations of installation %s: %w", path, installation, fs.ErrNotExist)
	}
	return all, err
}

// check tells the first thing that cannot be in the file. Of a key its kid is enough, so
// that a person can write one line by hand.
func (f revocations) check() error {
	switch {
	case f.Format > revocationsFormat:
		return fmt.Errorf("format %d is of a newer version of keysetd; this one knows %d", f.Format, revocationsFormat)
	case f.Format != revocationsFormat:
		return fmt.Errorf("format %d is unknown; this version knows %d", f.Format, revocationsFormat)
	case !IsInstallation(f.Installation):
		return fmt.Errorf("%q is no installation id", f.Installation)
	}
	for i, r := range f.Revoked {
		if r.Keyset == "" || r.KID == "" {
			return fmt.Errorf("entry %d of revoked names no keyset or no kid", i+1)
		}
	}
	return nil
}
