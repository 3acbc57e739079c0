package audit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// at finds line i, counted through all files.
func at(files [][]string, i int) (file, line int) {
	for i >= len(files[file]) {
		i -= len(files[file])
		file++
	}
	return file, i
}

// TestEveryMutationIsNamed: whatever is done to the covered part of a log is found, and the
// line is named.
func TestEveryMutationIsNamed(t *testing.T) {
	dir := t.TempDir()
	logs := []*trail{}
	for i, steps := range [][]int{{1}, {5, 3}, {4, -1, 3, 2, -1, 5}, {3, -2, 4, -1, -2, 2}, {2, -3, 4, -1, 1, -3, 3}} {
		d := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		logs = append(logs, recordTrail(t, d, steps...))
	}
	rapid.Check(t, func(t *rapid.T) {
		tr := rapid.SampledFrom(logs).Draw(t, "log")
		files := clone(tr.files)
		total := 0
		for _, f := range files {
			total += len(f)
		}
		covered := total - 1 // but for the last checkpoint
		i := rapid.IntRange(0, covered-1).Draw(t, "line")
		f, n := at(files, i)
		torn := func(line string) bool { return !json.Valid([]byte(line)) }
		wantFile, wantLine := f, n
		var kinds []Kind
		orTornBefore := false
		switch how := rapid.SampledFrom([]string{"flip", "remove", "swap", "double", "copy", "insert"}).Draw(t, "how"); how {
		case "flip":
			b := []byte(files[f][n])
			bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
			b[bit/8] ^= 1 << (bit % 8)
			files[f][n] = string(b)
			kinds = []Kind{Changed, BadCheckpoint, UnknownKey}
			orTornBefore = n > 0 && torn(files[f][n-1]) // which nobody declares any more
		case "remove":
			if i == 0 { // nobody can tell it from a file that is not here
				t.Skip()
			}
			kinds = []Kind{Missing}
			if torn(files[f][n]) {
				kinds = []Kind{Changed}
			}
			undeclared := n > 0 && torn(files[f][n-1])
			files[f] = slices.Delete(files[f], n, n+1)
			if wantFile, wantLine = at(files, i); undeclared {
				kinds, wantFile, wantLine = []Kind{Changed}, f, n-1
			}
		case "swap":
			j := rapid.IntRange(0, covered-1).Draw(t, "other")
			if i > j {
				i, j = j, i
			}
			g, m := at(files, j)
			f, n = at(files, i)
			if i == j || i == 0 || f != g || torn(files[f][n]) || torn(files[g][m]) || n > 0 && torn(files[f][n-1]) || torn(files[g][m-1]) {
				t.Skip()
			}
			files[f][n], files[g][m] = files[g][m], files[f][n]
			kinds, wantFile, wantLine = []Kind{Reordered}, f, n
		case "double":
			if torn(files[f][n]) {
				t.Skip()
			}
			files[f] = slices.Insert(files[f], n, files[f][n])
			kinds, wantLine = []Kind{Inserted}, n+1
			if n > 0 && torn(files[f][n-1]) { // it declares what is not before it
				kinds = []Kind{Inserted, Changed}
			}
		case "copy":
			j := rapid.IntRange(1, covered-1).Draw(t, "other")
			g, m := at(files, j)
			if i == j || torn(files[f][n]) || torn(files[g][m]) || m == 0 || torn(files[g][m-1]) {
				t.Skip()
			}
			files[g] = slices.Insert(files[g], m, files[f][n])
			kinds, wantFile, wantLine = []Kind{Inserted}, g, m
		case "insert":
			if n == 0 || torn(files[f][n]) || torn(files[f][n-1]) {
				t.Skip()
			}
			forged, _ := link(nil, []byte(`{"time":"2026-11-21T21:20:00.000000000Z","operation":"jwt"}`+"\n"), headOf(files[f][n-1]), nil)
			files[f] = slices.Insert(files[f], n, string(forged))
			kinds = []Kind{Inserted}
		}
		tr.write(t, files)
		r := tr.verify(t, VerifyOptions{KIDs: tr.kids[:1], Heads: []string{tr.seals[len(tr.seals)-1]}})
		if r.Fault == nil {
			t.Fatalf("not found: %+v", r)
		}
		rightLine := r.Fault.Line == wantLine+1 || orTornBefore && r.Fault.Line == wantLine
		if r.Fault.File != tr.name(wantFile) || !rightLine || !slices.Contains(kinds, r.Fault.Kind) {
			t.Fatalf("got %v, want %v at %s:%d", r.Fault, kinds, tr.name(wantFile), wantLine+1)
		}
	})
}
