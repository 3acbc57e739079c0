package policy

// Identity is as whom a caller counts where callers share something, such as places or memory. It is comparable.
//
// A user that a rule names is itself. All that only a rule for a group knows are one, as Verdict.Owner has
// it: a person whose group it is has as many users as subordinate uids (subuid(5)), and would else
// outnumber the others.
type Identity struct {
	UID  uint32 // 0 where Rule is set
	Rule string // the name of a rule for a group; empty: the user UID
}

// Alone reports whether it is one user.
func (i Identity) Alone() bool { return i.Rule == "" }

// Identity returns as whom the caller counts. It is known if some rule is for it, or it is one of those that
// may Read without. Of several rules for groups it is the one that wins first.
func (p *Policy) Identity(c Caller) (id Identity, known bool) {
	alone := Identity{UID: c.UID}
	if p.opts.reads(c) {
		return alone, true
	}
	var best *grant
	for g := range p.all(c) {
		if g.rule.UID != nil {
			return alone, true
		}
		if best == nil || g.rank < best.rank {
			best = g
		}
	}
	if best == nil {
		return Identity{}, false
	}
	return Identity{Rule: best.rule.Name}, true
}
