package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// anchor is the last line that is known to be on the disk. It is kept outside the log's
// folder: whoever can write there can change the file while nobody has it open, and not this.
type anchor struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"` // SHA-256 of the line, in base64url
	File string `json:"file"` // that the line was in, under the name that it had then
}

func (a anchor) head() (Head, error) { return (&claims{Seq: a.Seq, Hash: a.Hash}).head() }

// readAnchor reads the anchor at path. The zero Head: there is none yet.
func readAnchor(path string) (Head, error) {
	if path == "" {
		return Head{}, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, nil
	}
	var a anchor
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	var head Head
	if err == nil {
		head, err = a.head()
	}
	if err != nil {
		return Head{}, fmt.Errorf("reading %s, which says where the audit log ended: %w; without that file keysetd starts, and the log says that nothing proves what it holds", path, err)
	}
	return head, nil
}

// writeAnchor replaces the anchor at path, so that it is there after a power cut.
func writeAnchor(path string, a anchor) (err error) {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// keepAnchor notes head, which is on the disk. It has syncing. Where it cannot be noted
// signing goes on, for the log is whole, and the lines since the last anchor are not
// proven after a start; that is told once.
func (l *Log) keepAnchor(head Head) error {
	if l.opts.Anchor == "" || head == l.anchored || head.Seq == 0 {
		return nil
	}
	err := writeAnchor(l.opts.Anchor, anchor{head.Seq, head.prev(), l.path})
	switch {
	case err == nil:
		l.anchored, l.adrift = head, false
	case !l.adrift:
		l.adrift = true
		l.opts.Logger.Error("where the audit log ends cannot be noted outside its folder; lines since then are not proven after the next start", "anchor", l.opts.Anchor, "error", err)
	}
	return err
}
