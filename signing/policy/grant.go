package policy

import (
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// grant is a rule made ready for the signing path: looking at it allocates nothing, unless
// it limits tokens. A nil set stands for All.
type grant struct {
	rule       Rule
	owner      string // see Verdict.Owner
	rank       int    // of two that grant a request, the one with the lower rank is taken
	keysets    map[string]struct{}
	operations []Operation
	algorithms []jose.SignatureAlgorithm
	clientIDs  map[string]struct{}
	audiences  map[string]struct{} // nil stands for any
	expression *expression         // nil: there is none
	rate       *rate               // of signatures; nil: no limit
	// decryption has its own rate and rank where the rule gives none, since it is limited nonetheless.
	decryption struct {
		rate *rate
		rank int
	}
}

func newGrant(r Rule, rank int) (*grant, error) {
	g := &grant{
		rule: r, owner: r.owner(), rank: rank,
		keysets: set(r.Keysets), clientIDs: set(r.ClientIDs),
	}
	if len(r.Audiences) > 0 {
		g.audiences = set(r.Audiences)
	}
	if !slices.Contains(r.Operations, All) {
		g.operations = append([]Operation{}, r.Operations...)
	}
	if !slices.Contains(r.Algorithms, All) {
		g.algorithms = append([]jose.SignatureAlgorithm{}, r.Algorithms...)
	}
	if r.Rate > 0 {
		g.rate = newRate(r.Rate, r.burst())
	}
	if g.decryption.rate = g.rate; g.rate == nil && r.grants(Decrypt) {
		g.decryption.rate = newRate(usualDecryptions, usualDecryptionBurst)
	}
	if r.Claims == "" {
		return g, nil
	}
	var err error
	g.expression, err = compile(r.Claims)
	return g, err
}

func set(words []string) map[string]struct{} {
	if slices.Contains(words, All) {
		return nil
	}
	s := make(map[string]struct{}, len(words))
	for _, w := range words {
		s[w] = struct{}{}
	}
	return s
}

func in(s map[string]struct{}, word string) bool {
	_, ok := s[word]
	return s == nil || ok
}

// limit returns what counts the operation, nil where nothing does.
func (g *grant) limit(op Operation) *rate {
	switch {
	case op == Decrypt:
		return g.decryption.rate
	case op.Signs():
		return g.rate
	}
	return nil
}

// rankFor is the rank for a request of this operation.
func (g *grant) rankFor(op Operation) int {
	if op == Decrypt {
		return g.decryption.rank
	}
	return g.rank
}

// covers reports whether the rule grants the operation, all else being granted.
func (g *grant) covers(op Operation, keyset string, alg jose.SignatureAlgorithm) bool {
	if g.operations != nil && !slices.Contains(g.operations, op) {
		return false
	}
	if op != Admin && !in(g.keysets, keyset) {
		return false
	}
	return !op.Signs() || g.algorithms == nil || slices.Contains(g.algorithms, alg)
}
