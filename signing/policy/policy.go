package policy

import (
	"cmp"
	"errors"
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
// in several. What is wrong with a rule is a *RuleError, which for an expression tells where in it.
func New(rules []Rule, opts Options) (*Policy, error) {
	if opts.OverflowUID == 0 {
		return nil, errors.New("the kernel's overflow uid is given as 0, which is root's; read it from /proc/sys/kernel/overflowuid")
	}
	opts.OverflowGID = cmp.Or(opts.OverflowGID, usualOverflow)
	p := &Policy{opts: opts, byUID: make(map[uint32][]*grant), byGID: make(map[uint32][]*grant)}
	for _, r := range rules {
		if err := r.check(opts); err != nil {
			return nil, r.fault("", err)
		}
	}
	if err := checkPairs(rules, opts); err != nil {
		return nil, err
	}
	ordered := slices.Clone(rules)
	slices.SortStableFunc(ordered, better(math.Inf(1)))
	var grants []*grant
	for i, r := range ordered {
		g, err := newGrant(r, i)
		if err != nil {
			return nil, r.fault("claims", err)
		}
		grants = append(grants, g)
		if r.UID != nil {
			p.byUID[*r.UID] = append(p.byUID[*r.UID], g)
		} else {
			p.byGID[*r.GID] = append(p.byGID[*r.GID], g)
		}
	}
	decrypting := better(usualDecryptions)
	slices.SortStableFunc(grants, func(a, b *grant) int { return decrypting(a.rule, b.rule) })
	for i, g := range grants {
		g.decryption.rank = i
	}
	return p, nil
}

// fault is err, about a field of the rule, as a *RuleError.
func (r Rule) fault(field string, err error) error {
	if e, ok := errors.AsType[*RuleError](err); ok {
		return e
	}
	return &RuleError{r.Name, field, err.Error()}
}

// better orders rules by what they are worth to a caller: by priority, then by rate, which is usual
// where a rule gives none.
func better(usual float64) func(a, b Rule) int {
	return func(a, b Rule) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(cmp.Or(b.Rate, usual), cmp.Or(a.Rate, usual)))
	}
}

// all yields the grants of a caller, each once: the user's, the primary group's and the
// supplementary groups'. A caller that may be anybody has none.
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
		for i, gid := range c.Groups {
			grants := p.byGID[gid]
			// The kernel sorts them and keeps what setgroups(2) was given twice, up to 65,536 times.
			if len(grants) == 0 || gid == c.GID || i > 0 && gid == c.Groups[i-1] || slices.Contains(c.Groups[:i], gid) {
				continue
			}
			for _, g := range grants {
				if !yield(g) {
					return
				}
			}
		}
	}
}

// Grants returns the rules that are for the caller, those that win first.
func (p *Policy) Grants(c Caller) []Rule {
	var grants []*grant
	for g := range p.all(c) {
		grants = append(grants, g)
	}
	slices.SortFunc(grants, func(a, b *grant) int { return cmp.Compare(a.rank, b.rank) })
	var rules []Rule
	for _, g := range grants {
		rules = append(rules, g.rule)
	}
	return rules
}
