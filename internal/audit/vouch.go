package audit

import "slices"

// maxRecent is how many lines there may be between a checkpoint and the line that it
// names, for lines are written while it is signed. It bounds the memory of Verify: 32 MiB.
const maxRecent = 1 << 20

// recent are the hashes of the last lines.
type recent struct {
	hashes [][32]byte // of the line seq at seq % maxRecent, once there are so many
	first  uint64     // the number of the first line that is kept
	last   uint64
}

// before notes the line before the first one, which is known from there.
func (r *recent) before(l *line) {
	if hash, err := strict.DecodeString(l.prev); err == nil && len(hash) == 32 {
		r.first, r.last = l.seq-1, l.seq-1
		r.hashes = append(r.hashes, [32]byte(hash))
	}
}

func (r *recent) add(h Head) {
	if len(r.hashes) == 0 {
		r.first = h.Seq
	}
	if r.last = h.Seq; len(r.hashes) < maxRecent {
		r.hashes = append(r.hashes, h.Hash)
		return
	}
	r.hashes[(h.Seq-r.first)%maxRecent] = h.Hash
}

// knows tells whether the line is kept, and is this one.
func (r *recent) knows(h Head) (kept, same bool) {
	if h.Seq < r.first || h.Seq > r.last || r.last-h.Seq >= uint64(len(r.hashes)) {
		return false, false
	}
	return true, r.hashes[(h.Seq-r.first)%maxRecent] == h.Hash
}

// checkpoint verifies the checkpoint in the last line.
func (v *verifier) checkpoint(compact string) error {
	c, err := readCheckpoint(compact)
	if err != nil {
		return v.fault(BadCheckpoint, v.last, "%v", err)
	}
	if v.known[c.kid] == nil {
		return v.fault(UnknownKey, v.last, "key %q was not introduced by a line before", c.kid)
	}
	if err := c.verify(v.keys); err != nil {
		return v.fault(BadCheckpoint, v.last, "%v", err)
	}
	if len(v.trusted) == 0 {
		v.trusted[c.kid] = true // on the log's word
	}
	if !v.trusted[c.kid] {
		return v.fault(UnknownKey, v.last, "key %s is introduced, but none of the trusted keys (--kid) vouches for it: a kid is mistyped, this is another installation's log, or the key took over in an emergency and is to be named as trusted too", c.kid)
	}
	r := &v.report
	if c.head.Seq >= v.last.Seq {
		return v.fault(BadCheckpoint, v.last, "it names line %d, which is not before it", c.head.Seq)
	}
	if r.Installation != "" && r.Installation != c.claims.Installation {
		return v.fault(BadCheckpoint, v.last, "it is of installation %q, those before are of %q", c.claims.Installation, r.Installation)
	}
	kept, same := v.recent.knows(c.head)
	switch {
	case kept && !same:
		return v.fault(Rewritten, v.last, "the checkpoint names another line %d than the one that is here: that line or one before it, after line %d, was changed and chained anew; or the checkpoint is of another log", c.head.Seq, r.Covered)
	case !kept && c.head.Seq >= r.First:
		return v.fault(BadCheckpoint, v.last, "it names line %d, which is more than %d lines before it", c.head.Seq, maxRecent)
	}
	r.Installation = c.claims.Installation
	v.proven(c)
	return nil
}

// proven counts a checkpoint, and trusts the keys that it vouches for: those that were
// introduced by the lines that it covers.
func (v *verifier) proven(c *checkpoint) {
	r := &v.report
	if i := slices.IndexFunc(r.Keys, func(k Key) bool { return k.KID == c.kid }); i >= 0 {
		r.Keys[i].Checkpoints++
	} else {
		r.Keys = append(r.Keys, Key{c.kid, 1})
	}
	if c.head.Seq >= r.First {
		r.Covered = max(r.Covered, c.head.Seq)
	}
	for kid, key := range v.known {
		if key.seq <= c.head.Seq {
			v.trusted[kid] = true
		}
	}
}
