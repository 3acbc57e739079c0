package audit

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestVerifyWhatIsWhole(t *testing.T) {
	tr := recordTrail(t, t.TempDir(), 5, -1, 0, 3, -2, 4, -3, 2, -1, 6)
	for _, opts := range []VerifyOptions{{}, {KIDs: tr.kids[:1]}, {KIDs: tr.kids[:1], Heads: []string{tr.seals[len(tr.seals)-1]}}, {Heads: []string{tr.seals[0]}}} {
		r := tr.verify(t, opts)
		if r.Fault != nil {
			t.Fatal(r.Fault)
		}
		if len(r.Keys) != 2 || r.Keys[0].KID != tr.kids[0] || r.Keys[1].KID != tr.kids[1] || r.Installation != "here" ||
			r.First != 1 || r.Last != uint64(r.Lines) || r.Covered != r.Last-1 || len(r.Torn) != 1 || len(r.Files) != 3 {
			t.Errorf("%+v", r)
		}
		said := strings.Join(r.Unproven, "\n")
		if strings.Contains(said, "--head") != (opts.Heads == nil) || strings.Contains(said, "--kid") != (opts.KIDs == nil) {
			t.Errorf("%+v:\n%s", opts, said)
		}
	}
	// The files' order on the command line is the shell's.
	paths := tr.paths()
	slices.Reverse(paths)
	if r, err := Verify(paths, VerifyOptions{}); err != nil || r.Fault != nil {
		t.Error(r, err)
	}
	if r, err := Verify(tr.paths()[1:], VerifyOptions{KIDs: tr.kids[:1]}); err != nil || r.Fault != nil || r.First == 1 {
		t.Error(r, err)
	}
	// Who trusts only the second key need not believe the first.
	if r := tr.verify(t, VerifyOptions{KIDs: tr.kids[1:]}); r.Fault == nil || r.Fault.Kind != UnknownKey {
		t.Error(r.Fault)
	}
}

func TestCutTailNeedsTheHead(t *testing.T) {
	tr := recordTrail(t, t.TempDir(), 4, -1, 3, 2)
	head := tr.seals[len(tr.seals)-1]
	for n := range tr.files[1] {
		files := clone(tr.files)
		files[1] = files[1][:n]
		tr.write(t, files)
		without, with := tr.verify(t, VerifyOptions{}), tr.verify(t, VerifyOptions{Heads: []string{head}, KIDs: tr.kids})
		if without.Fault != nil {
			t.Error(without.Fault)
		}
		last := n == len(tr.files[1])-1 // only the checkpoint that is given
		if last != (with.Fault == nil) || !last && (with.Fault.Kind != Cut || n > 0 && (with.Fault.Line != n || with.Fault.File != tr.name(1))) {
			t.Errorf("%d lines left: %v", n, with.Fault)
		}
	}
	// A file that is missing in the middle, and one at the end.
	tr = recordTrail(t, t.TempDir(), 4, -1, 3, -1, 2)
	paths := tr.paths()
	r, err := Verify([]string{paths[0], paths[2]}, VerifyOptions{})
	if err != nil || r.Fault == nil || r.Fault.Kind != Missing || r.Fault.File != paths[2] || r.Fault.Line != 1 {
		t.Error(r, err)
	}
	r, err = Verify(paths[:2], VerifyOptions{Heads: []string{tr.seals[len(tr.seals)-1]}})
	if err != nil || r.Fault == nil || r.Fault.Kind != Cut {
		t.Error(r, err)
	}
}

// rechain has somebody without the key change line n, chain all behind it anew, and do to
// checkpoints behind it what with says.
func rechain(lines []string, n int, with func(line string, head Head) string) []string {
	var head Head
	out := slices.Clone(lines[:n])
	if n > 0 {
		head = headOf(lines[n-1])
	}
	for i, text := range lines[n:] {
		l, _ := parse([]byte(strings.TrimSuffix(text, "\n")))
		body := "{" + string(l.rest) + "\n"
		if i == 0 {
			body = strings.Replace(body, `"uid":1001`, `"uid":1002`, 1)
		}
		if strings.Contains(body, `"checkpoint"`) {
			body = with(body, head)
		}
		var line []byte
		if line, head = link(nil, []byte(body), head, nil); body != "" {
			out = append(out, string(line))
		}
	}
	return out
}

func TestRechainedByWhoHasNotTheKey(t *testing.T) {
	tr := recordTrail(t, t.TempDir(), 3, 4, 5)
	lines := tr.files[0]
	const n = 6 // key, three lines, checkpoint: the second of four lines
	second := 1 + 3 + 1 + 4
	if !strings.Contains(lines[second], `"checkpoint"`) || !strings.Contains(lines[n], `"uid":1001`) {
		t.Fatalf("%s", lines)
	}
	other := newKey()
	for _, test := range []struct {
		name string
		with func(body string, head Head) string
		opts VerifyOptions
		kind Kind
		line int
	}{
		{"checkpoints as they are", func(body string, _ Head) string { return body }, VerifyOptions{}, Rewritten, second + 1},
		{"checkpoints dropped, with a head", func(string, Head) string { return "" }, VerifyOptions{Heads: []string{tr.seals[1]}}, Rewritten, second},
		{"signed by a key nobody knows", func(body string, head Head) string {
			payload, _ := json.Marshal(claims{Seq: head.Seq, Hash: head.prev()})
			return string(appendCheckpoint(nil, full.Time, seal(other, payload)))
		}, VerifyOptions{}, UnknownKey, second + 1},
		{"signed by a key of their own", func(body string, head Head) string {
			key, _ := appendKey(nil, full.Time, &jose.JSONWebKey{Key: other.Public()})
			payload, _ := json.Marshal(claims{Seq: head.Seq, Hash: head.prev()})
			return string(key) + string(appendCheckpoint(nil, full.Time, seal(other, payload)))
		}, VerifyOptions{}, UnknownKey, second + 2},
	} {
		var out []string
		for _, l := range rechain(lines, n, test.with) {
			out = append(out, slices.Collect(strings.Lines(l))...)
		}
		tr.write(t, [][]string{out})
		if r := tr.verify(t, test.opts); r.Fault == nil || r.Fault.Kind != test.kind || r.Fault.Line != test.line {
			t.Errorf("%s: %v", test.name, r.Fault)
		}
	}
	// Without a head, dropped checkpoints leave lines that nothing covers, and Verify says so.
	tr.write(t, [][]string{rechain(lines, n, func(string, Head) string { return "" })})
	if r := tr.verify(t, VerifyOptions{}); r.Fault != nil || r.Covered != 4 || !strings.Contains(strings.Join(r.Unproven, " "), "not covered by a checkpoint") {
		t.Errorf("%+v", r)
	}
}

func TestCheckpointAndHeadOfAnotherLog(t *testing.T) {
	tr, other := recordTrail(t, t.TempDir(), 3, 2), recordTrail(t, t.TempDir(), 3, 2)
	if r := tr.verify(t, VerifyOptions{Heads: []string{other.seals[0]}}); r.Fault == nil || r.Fault.Kind != Rewritten {
		t.Error(r.Fault)
	}
	forged := tr.seals[0][:len(tr.seals[0])-86] + other.seals[0][len(other.seals[0])-86:]
	if r := tr.verify(t, VerifyOptions{Heads: []string{forged}}); r.Fault == nil || r.Fault.Kind != BadCheckpoint {
		t.Error(r.Fault)
	}
	// Two logs of one daemon, one of which has been done away with.
	s := &signer{keys: []*ecdsa.PrivateKey{newKey()}}
	var seals []string
	var paths []string
	for i := range 2 {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l, err := Open(path, Options{Sealer: s})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			mustAppend(t, l, fmt.Sprint("log ", i))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		seals, paths = append(seals, s.seals[i]), append(paths, path)
	}
	if r, err := Verify(paths[1:], VerifyOptions{Heads: []string{seals[0]}}); err != nil || r.Fault == nil || r.Fault.Kind != Rewritten {
		t.Error(r, err)
	}
	if r, err := Verify(paths, VerifyOptions{}); err != nil || r.Fault == nil || r.Fault.Kind != Restarted || r.Fault.File != paths[1] || r.Fault.Line != 1 {
		t.Error(r, err)
	}
	if _, err := Verify(paths, VerifyOptions{Heads: []string{"x.y.z"}}); err == nil {
		t.Error("a head that is none was taken")
	}
	if _, err := Verify([]string{"/nonexistent"}, VerifyOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A line longer than any can be is no line, wherever the file's end is.
func TestVeryLongLineIsNoLine(t *testing.T) {
	for _, end := range []string{"", "\n"} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		garbage := bytes.Repeat([]byte("0123456789"), 3*maxLine/10)
		if err := os.WriteFile(path, append(garbage, end...), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "a")
		mustAppend(t, l, "b")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := Verify([]string{path}, VerifyOptions{})
		if err != nil || r.Fault != nil || r.Lines != 3 || len(r.Torn) != 1 || r.Torn[0].Bytes != int64(len(garbage)) {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// A blank line is none of the chain's, and nothing that a crash leaves.
func TestBlankLineIsFound(t *testing.T) {
	tr := recordTrail(t, t.TempDir(), 5)
	path := tr.paths()[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for at := range len(lines) - 1 {
		with := bytes.Join(slices.Insert(slices.Clone(lines), at, []byte("\n")), nil)
		if err := os.WriteFile(path, with, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Verify([]string{path}, VerifyOptions{KIDs: tr.kids[:1]})
		if err != nil || r.Fault == nil || r.Fault.Line != at+1 {
			t.Errorf("a blank line at %d: %v, %v", at+1, r.Fault, err)
		}
	}
}
