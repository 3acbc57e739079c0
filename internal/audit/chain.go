package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
)

// Head is the last line of a chain. The zero Head is that of a chain without lines.
//
// Each line begins with its number and the SHA-256 of the whole line before it, without its
// newline, in base64url without padding:
//
//	{"seq":1,"prev":"","time":…
//	{"seq":2,"prev":"fQ1…","time":…
//
// The chain goes on from file to file. What stands in a file and is no line of the chain (a
// line that a crash cut short, or what an older version wrote) is declared by the next line
// of the chain, behind prev: "torn" counts its bytes and "torn_hash" is their SHA-256, both
// without newlines.
type Head struct {
	Seq  uint64
	Hash [sha256.Size]byte
}

// next is the head after line, which has no newline.
func (h Head) next(line []byte) Head { return Head{h.Seq + 1, sha256.Sum256(line)} }

// appendPrev appends h as the next line names it in prev.
func (h Head) appendPrev(b []byte) []byte {
	if h.Seq == 0 {
		return b
	}
	return base64.RawURLEncoding.AppendEncode(b, h.Hash[:])
}

func (h Head) prev() string { return string(h.appendPrev(nil)) }

// torn is what stands before the next line and is none of the chain's.
type torn struct {
	bytes   int64
	sum     hash.Hash // nil while bytes is 0
	breaks  bool      // a newline is in it
	strange bool      // a line of it does not begin as the chain's next line does
}

// add counts p, but for its newlines.
func (t *torn) add(p []byte) {
	for part := range bytes.SplitSeq(p, []byte{'\n'}) {
		if len(part) == 0 {
			continue
		}
		if t.sum == nil {
			t.sum = sha256.New()
		}
		t.bytes += int64(len(part))
		t.sum.Write(part)
	}
}

func (t *torn) hash() string {
	if t.bytes == 0 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(t.sum.Sum(nil))
}

// link appends bodies to out as lines that go on from head, and returns the new head. The
// bodies are lines of JSON objects; the first declares t.
func link(out, bodies []byte, head Head, t *torn) ([]byte, Head) {
	for len(bodies) > 0 {
		end := bytes.IndexByte(bodies, '\n')
		start := len(out)
		out = append(out, `{"seq":`...)
		out = strconv.AppendUint(out, head.Seq+1, 10)
		out = append(out, `,"prev":"`...)
		out = head.appendPrev(out)
		out = append(out, `",`...)
		if t != nil && t.bytes > 0 {
			out = append(out, `"torn":`...)
			out = strconv.AppendInt(out, t.bytes, 10)
			out = append(out, `,"torn_hash":"`...)
			out = append(out, t.hash()...)
			out = append(out, `",`...)
			t = nil
		}
		out = append(out, bodies[1:end]...)
		head = head.next(out[start:])
		out = append(out, '\n')
		bodies = bodies[end+1:]
	}
	return out, head
}
