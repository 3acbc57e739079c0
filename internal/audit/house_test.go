package audit

import (
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// house is a log with an anchor in another folder, and who has the key.
type house struct {
	t            *testing.T
	path, anchor string
	*signer
	told
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, path: filepath.Join(dir, "log", "audit.jsonl"), anchor: filepath.Join(dir, "audit.head"), signer: &signer{keys: []*ecdsa.PrivateKey{newKey()}}}
	if err := os.Mkdir(filepath.Dir(h.path), 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) open() *Log {
	h.t.Helper()
	l, err := Open(h.path, Options{Sealer: h.signer, Anchor: h.anchor, Installation: "here", Logger: slog.New(slog.NewTextHandler(&h.told, nil))})
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// run is one daemon from its start to its end.
func (h *house) run(jtis ...string) {
	h.t.Helper()
	l := h.open()
	for _, jti := range jtis {
		mustAppend(h.t, l, jti)
	}
	if err := l.Checkpoint(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) lines() []string {
	h.t.Helper()
	data, err := os.ReadFile(h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(data)))
}

func (h *house) write(lines ...string) {
	h.t.Helper()
	if err := os.WriteFile(h.path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) verify(paths ...string) *Report {
	h.t.Helper()
	seals := h.sealed()
	r, err := Verify(append(paths, h.path), VerifyOptions{KIDs: []string{kidOf(h.keys[0])}, Heads: seals[len(seals)-1:]})
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// events are the names of those in the file.
func (h *house) events() (names []string) {
	for _, text := range h.lines() {
		if l, ok := parse([]byte(strings.TrimSuffix(text, "\n"))); ok {
			if o, ok := l.ownLine(); ok && o.Event != "" {
				names = append(names, o.Event)
			}
		}
	}
	return names
}

// introduction is a key's line.
func introduction(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	line, err := appendKey(nil, full.Time, &jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// linked are bodies as lines behind the lines.
func linked(lines []string, bodies ...string) []string {
	var head Head
	if len(lines) > 0 {
		head = headOf(lines[len(lines)-1])
	}
	for _, body := range bodies {
		var line []byte
		line, head = link(nil, []byte(body), head, nil)
		lines = append(lines, string(line))
	}
	return lines
}

// sealedBy are the lines with a checkpoint by a key behind them.
func sealedBy(key *ecdsa.PrivateKey, lines []string) []string {
	last := headOf(lines[len(lines)-1])
	payload := fmt.Appendf(nil, `{"seq":%d,"hash":%q,"installation":"here"}`, last.Seq, last.prev())
	return linked(lines, string(appendCheckpoint(nil, full.Time, seal(key, payload))))
}

func bodyOf(line string) string {
	l, _ := parse([]byte(strings.TrimSuffix(line, "\n")))
	return "{" + string(l.rest) + "\n"
}
