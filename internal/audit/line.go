package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// maxLine is the longest line that can be one of the chain's, in bytes: the strings of a
// record are cut at maxString and each of their bytes takes six at most.
const maxLine = 128 << 10

// hashText is the length of a hash in base64url.
const hashText = 43

// strict reads each hash from one text only.
var strict = base64.RawURLEncoding.Strict()

// line is one line of the chain, as a reader of the log sees it.
type line struct {
	seq      uint64
	prev     string
	torn     int64
	tornHash string
	// rest begins with the line's time; it is valid JSON with a { before it.
	rest []byte
	head Head // once this line is the last
}

// parse reads a line, without its newline, whose members must stand in the order in which
// they are written. It aliases b.
func parse(b []byte) (l line, ok bool) {
	if len(b) > maxLine || !json.Valid(b) {
		return line{}, false
	}
	rest, ok := bytes.CutPrefix(b, []byte(`{"seq":`))
	if !ok {
		return line{}, false
	}
	seq, rest, ok := bytes.Cut(rest, []byte(`,"prev":"`))
	if !ok {
		return line{}, false
	}
	var err error
	if l.seq, err = strconv.ParseUint(string(seq), 10, 64); err != nil || l.seq == 0 {
		return line{}, false
	}
	if l.prev, rest, ok = cutHash(rest, l.seq == 1); !ok {
		return line{}, false
	}
	if after, declares := bytes.CutPrefix(rest, []byte(`"torn":`)); declares {
		count, after, ok := bytes.Cut(after, []byte(`,"torn_hash":"`))
		if !ok {
			return line{}, false
		}
		if l.torn, err = strconv.ParseInt(string(count), 10, 64); err != nil || l.torn <= 0 {
			return line{}, false
		}
		if l.tornHash, rest, ok = cutHash(after, false); !ok {
			return line{}, false
		}
	}
	if !bytes.HasPrefix(rest, []byte(`"time":"`)) {
		return line{}, false
	}
	l.rest = rest
	l.head = Head{l.seq - 1, [32]byte{}}.next(b)
	return l, true
}

// cutHash takes a hash and the `",` behind it off b.
func cutHash(b []byte, none bool) (hash string, rest []byte, ok bool) {
	text, rest, ok := bytes.Cut(b, []byte(`",`))
	if !ok || len(text) != hashText && !(none && len(text) == 0) {
		return "", nil, false
	}
	if _, err := strict.DecodeString(string(text)); err != nil {
		return "", nil, false
	}
	return string(text), rest, true
}

// time is when the line was written, or its act was; zero where it does not say.
func (l *line) time() time.Time {
	rest := bytes.TrimPrefix(l.rest, []byte(`"time":"`))
	if len(rest) < len(timeLayout) {
		return time.Time{}
	}
	t, _ := time.Parse(timeLayout, string(rest[:len(timeLayout)]))
	return t
}

// follows reports whether l is the line after head.
func (l *line) follows(head Head) bool { return l.seq == head.Seq+1 && l.prev == head.prev() }

// own is what a line that is no act holds beside its time.
type own struct {
	Checkpoint string          `json:"checkpoint"`
	AuditKey   json.RawMessage `json:"audit_key"`
	Event      string          `json:"event"`
	Detail     string          `json:"detail"`
	From       uint64          `json:"from"`
	To         uint64          `json:"to"`
}

// ownLine reads what l holds, if it is a checkpoint, an event or introduces a key.
func (l *line) ownLine() (o own, ok bool) {
	const behind = len(`"time":""`) + len(timeLayout)
	if len(l.rest) < behind {
		return own{}, false
	}
	switch rest := l.rest[behind:]; {
	case bytes.HasPrefix(rest, []byte(`,"checkpoint":`)), bytes.HasPrefix(rest, []byte(`,"audit_key":`)), bytes.HasPrefix(rest, []byte(`,"event":`)):
	default:
		return own{}, false
	}
	return o, json.Unmarshal(append([]byte{'{'}, l.rest...), &o) == nil
}
