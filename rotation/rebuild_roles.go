package rotation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"keysetd.example/internal/keyspec"
)

// remains is what is left of a generation.
type remains struct {
	number  int
	keys    []salvaged // in the order of their specs
	revoked []string   // kids
}

// remainsOf brings the keys of a keyset together by generation, oldest first.
func remainsOf(keys []salvaged, revoked []Revocation) []remains {
	byNumber := map[int]remains{}
	for _, k := range keys {
		g := byNumber[k.generation]
		g.number, g.keys = k.generation, append(g.keys, k)
		byNumber[k.generation] = g
	}
	for _, v := range revoked {
		if g, ok := byNumber[v.Generation]; ok && !slices.Contains(g.revoked, v.KID) {
			g.revoked = append(g.revoked, v.KID)
			byNumber[v.Generation] = g
		}
	}
	return slices.SortedFunc(maps.Values(byNumber), func(a, b remains) int { return cmp.Compare(a.number, b.number) })
}

// able are the specs for which g has one key that surely can be used.
func (g remains) able() (specs []keyspec.Spec) {
	for _, spec := range keyspec.All() {
		if of := g.of(spec); len(of) == 1 && of[0].proven {
			specs = append(specs, spec)
		}
	}
	return specs
}

func (g remains) of(spec keyspec.Spec) []salvaged {
	return slices.DeleteFunc(slices.Clone(g.keys), func(k salvaged) bool { return k.Spec != spec })
}

// sound reports whether all that g ever had is there, as far as can be told.
func (g remains) sound() bool { return len(g.able()) == len(g.keys) && len(g.revoked) == 0 }

func (g remains) covers(specs []keyspec.Spec) bool {
	able := g.able()
	return !slices.ContainsFunc(specs, func(s keyspec.Spec) bool { return !slices.Contains(able, s) })
}

// problem tells what g lacks, or "".
func (g remains) problem(wanted []keyspec.Spec) string {
	var parts []string
	for _, spec := range keyspec.All() {
		switch of := g.of(spec); {
		case len(of) > 1:
			parts = append(parts, fmt.Sprintf("has %d %s keys", len(of), spec))
		case len(of) == 1 && !of[0].proven:
			parts = append(parts, fmt.Sprintf("has a %s key of which no private half was seen to sign", spec))
		case len(of) == 0 && slices.Contains(wanted, spec):
			parts = append(parts, fmt.Sprintf("has no %s key", spec))
		}
	}
	if len(g.revoked) > 0 {
		parts = append(parts, "had keys that were revoked")
	}
	return strings.Join(parts, ", and ")
}

// complete finds the generations that can do all that is wanted, and what that is.
func complete(all []remains, specs []keyspec.Spec) (best []remains, wanted []keyspec.Spec) {
	pick := func(from []remains, is func(remains) bool) []remains {
		return slices.DeleteFunc(slices.Clone(from), func(g remains) bool { return !is(g) })
	}
	best = pick(all, remains.sound)
	if len(best) == 0 {
		best = pick(all, func(g remains) bool { return len(g.able()) > 0 })
	}
	if len(specs) == 0 || !slices.ContainsFunc(best, func(g remains) bool { return g.covers(specs) }) {
		specs = nil
		for _, g := range best {
			if able := g.able(); len(able) >= len(specs) {
				specs = able
			}
		}
	}
	return pick(best, func(g remains) bool { return g.covers(specs) }), specs
}

// roles chooses among the complete generations the one that signs and the one behind it; 0
// where there is none.
func roles(best []remains, policy Policy) (active, pending int, why string) {
	if len(best) == 0 {
		return 0, 0, "no key of it can sign: its next generation does, once it is made and verifiers surely know it"
	}
	newest := best[len(best)-1]
	switch {
	case policy.Encrypts():
		return newest.number, 0, ""
	case len(best) == 1 && newest.number == 1: // no page was ever served without it
		return newest.number, 0, ""
	case len(best) > 1:
		active = best[len(best)-2].number
	}
	if !newest.sound() { // it would never be activated
		return active, 0, "every generation has lost keys: another one is made, and signs once verifiers surely know it"
	}
	if active == 0 {
		why = fmt.Sprintf("nothing signs until verifiers surely know generation %d, the only complete one: it may not have been published for long", newest.number)
	}
	return active, newest.number, why
}

// generation is g as the document has it. For what nobody remembers stands the
// instant of the recovery; a token may live as long as is allowed now.
func (g remains) generation(active, pending int, policy Policy, configured bool, now time.Time) Generation {
	out := Generation{Number: g.number, Revoked: g.revoked, Made: now}
	for _, k := range g.keys {
		out.Keys = append(out.Keys, k.Key)
	}
	if configured {
		out.Lifetime = policy.MaxTokenLifetime
	}
	switch g.number {
	case pending: // settle puts down since when, and until when the pages before it count
		out.State = Pending
		return out
	case active:
		out.State, out.Activated = Active, now
		if configured && !policy.byHand() {
			out.Scheduled = now.Add(-policy.Period)
		}
	default: // settle puts down until when
		out.State, out.Retired = Retired, now
	}
	out.Published, out.UsableFrom = now, now
	return out
}
