package policy

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Policy is a set of rules that does not change, safe for concurrent use.
type Policy struct {
	opts  Options
	byUID map[uint32][]*grant
	byGID map[uint32][]*grant
}

// New returns the policy of these rules, with their expressions compiled and their rates
// unspent. It refuses rules that cannot grant what they seem to, limits that nothing would
// enforce, and a uid or gid that has limits for tokens beside Sign on one keyset, in one rule or
// in several. The error names the caller, and for an expression line and column in it.
func New(rules []Rule, opts Options) (*Policy, error) {
	if opts.OverflowUID == 0 {
		return nil, errors.New("the kernel's overflow uid is given as 0, which is root's; read it from /proc/sys/kernel/overflowuid")
	}
	opts.OverflowGID = cmp.Or(opts.OverflowGID, usualOverflow)
	p := &Policy{opts: opts, byUID: make(map[uint32][]*grant), byGID: make(map[uint32][]*grant)}
	for _, r := range rules {
		if err := r.check(opts); err != nil {
			return nil, fmt.Errorf("caller %s: %w", r.Name, err)
		}
	}
	if err := checkPairs(rules); err != nil {
		return nil, err
	}
	ordered := slices.Clone(rules)
	slices.SortStableFunc(ordered, better)
	for i, r := range ordered {
		g, err := newGrant(r, i)
		if err != nil {
			return nil, fmt.Errorf("caller %s: %w", r.Name, err)
		}
		if r.UID != nil {
			p.byUID[*r.UID] = append(p.byUID[*r.UID], g)
		} else {
			p.byGID[*r.GID] = append(p.byGID[*r.GID], g)
		}
	}
	return p, nil
}

// better orders rules by what they are worth to a caller: by priority, then by rate.
func better(a, b Rule) int {
	worth := func(r Rule) float64 {
		if r.Rate == 0 {
			return math.Inf(1)
		}
		return r.Rate
	}
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(worth(b), worth(a)))
}

// all yields the grants of a caller: the user's, the primary group's and the supplementary
// groups'. A caller that may be anybody has none.
func (p *Policy) all(c Caller) func(yield func(*grant) bool) {
	return func(yield func(*grant) bool) {
		if p.opts.stranger(c) {
			return
		}
		for _, g := range p.byUID[c.UID] {
			if !yield(g) {
				return
			}
		}
		if len(p.byGID) == 0 {
			return
		}
		for _, g := range p.byGID[c.GID] {
			if !yield(g) {
				return
			}
		}
		for _, gid := range c.Groups {
			if gid == c.GID {
				continue
			}
			for _, g := range p.byGID[gid] {
				if !yield(g) {
					return
				}
			}
		}
	}
}

// Knows reports whether some rule is for the caller, or it is one of those that may Read without.
func (p *Policy) Knows(c Caller) bool {
	for range p.all(c) {
		return true
	}
	return c.UID == 0 || c.UID == p.opts.DaemonUID
}

// Grants returns the rules that are for the caller, those that win first.
func (p *Policy) Grants(c Caller) []Rule {
	var grants []*grant
	for g := range p.all(c) {
		grants = append(grants, g)
	}
	slices.SortFunc(grants, func(a, b *grant) int { return cmp.Compare(a.rank, b.rank) })
	var rules []Rule
	for _, g := range slices.Compact(grants) {
		rules = append(rules, g.rule)
	}
	return rules
}
