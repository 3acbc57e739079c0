package policy

import (
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// grant is a rule made ready for the signing path: looking at it allocates nothing.
// A nil set stands for All.
type grant struct {
	keysets    map[string]struct{}
	operations []Operation
	algorithms []jose.SignatureAlgorithm
}

func newGrant(r Rule) grant {
	var g grant
	if !slices.Contains(r.Keysets, All) {
		g.keysets = make(map[string]struct{}, len(r.Keysets))
		for _, k := range r.Keysets {
			g.keysets[k] = struct{}{}
		}
	}
	if !slices.Contains(r.Operations, All) {
		g.operations = append([]Operation{}, r.Operations...)
	}
	if !slices.Contains(r.Algorithms, All) {
		g.algorithms = append([]jose.SignatureAlgorithm{}, r.Algorithms...)
	}
	return g
}

func (g grant) covers(op Operation, keyset string, alg jose.SignatureAlgorithm) bool {
	if g.operations != nil && !slices.Contains(g.operations, op) {
		return false
	}
	if g.keysets != nil && op != Admin {
		if _, ok := g.keysets[keyset]; !ok {
			return false
		}
	}
	return !op.Signs() || g.algorithms == nil || slices.Contains(g.algorithms, alg)
}
