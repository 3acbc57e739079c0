package rotation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// effects tells what another policy would do to k.
func (k *keyset) effects(policy Policy, obs Observation, now time.Time) []Effect {
	old := k.policy
	var list []Effect
	tell := func(at time.Time, format string, args ...any) {
		list = append(list, Effect{Keyset: k.name, What: fmt.Sprintf(format, args...), At: at})
	}
	signs, own := k.foresee(policy, obs, now)
	if !k.configured {
		what := "is in the configuration again"
		if _, active := k.doc.Active(); !active {
			what += "; until its next keys can be known to every verifier nothing signs"
		}
		tell(signs, "%s", what)
		return list
	}
	for _, s := range policy.Static {
		for _, r := range k.doc.Revoked {
			if gone := (Key{ID: r.ID, Label: r.Label, KID: r.KID}); s.Active.names(gone) || s.Previous.names(gone) {
				tell(time.Time{}, "the %s key %q that it names was revoked and is not taken over: name another one", s.Type, r.Label)
			}
		}
	}
	if what := keyChange(old, policy); what != "" {
		tell(signs, "%s: what is new is published first, and signs then; what leaves stays published", what)
	}
	for _, alg := range policy.Algorithms {
		if !slices.Contains(old.Algorithms, alg) {
			tell(own[alg], "%s gets a kid of its own: it is published first, and signed under then", alg)
		}
	}
	for _, alg := range old.Algorithms {
		if !slices.Contains(policy.Algorithms, alg) {
			tell(time.Time{}, "%s has no kid of its own any more: it is signed under the key's own from now on; the old one stays published", alg)
		}
	}
	if old.static() && policy.static() && !slices.EqualFunc(old.Static, policy.Static, StaticKey.equal) && keyChange(old, policy) == "" {
		tell(time.Time{}, "another certificate chain is published with a key, at once")
	}
	for _, n := range numbers(old, policy) {
		tell(time.Time{}, "%s", n)
	}
	return list
}

// keyChange says in a few words which keys policy wants and old did not, or "".
func keyChange(old, policy Policy) string {
	switch {
	case !old.static() && policy.static():
		return "it becomes static"
	case old.static() && !policy.static():
		return "it becomes dynamic"
	case policy.static():
		if !slices.EqualFunc(old.Static, policy.Static, StaticKey.sameKeys) {
			return "other static keys are named"
		}
		return moved(old, policy)
	}
	var parts []string
	for _, s := range policy.Specs {
		if !slices.Contains(old.Specs, s) {
			parts = append(parts, string(s)+" is added")
		}
	}
	for _, s := range old.Specs {
		if !slices.Contains(policy.Specs, s) {
			parts = append(parts, string(s)+" is dropped")
		}
	}
	if what := moved(old, policy); what != "" {
		parts = append(parts, what)
	}
	return strings.Join(parts, ", ")
}

// moved says that the keys come to be on another token, or "".
func moved(old, policy Policy) string {
	if old.Token == policy.Token {
		return ""
	}
	return "the next generation is on token " + policy.Token
}

// numbers says which durations and limits change.
func numbers(old, policy Policy) (list []string) {
	for _, n := range []struct{ name, old, new string }{
		{"period", old.period(), policy.period()},
		{"lead", short(old.Lead), short(policy.Lead)},
		{"retain", old.retain(), policy.retain()},
		{"clock_skew", short(old.ClockSkew), short(policy.ClockSkew)},
		{"verifier_cache", short(old.VerifierCache), short(policy.VerifierCache)},
		{"max_age", short(old.MaxAge), short(policy.MaxAge)},
		{"max_token_lifetime", short(old.MaxTokenLifetime), short(policy.MaxTokenLifetime)},
		{"max_message_age", short(old.MaxMessageAge), short(policy.MaxMessageAge)},
		{"max_freeze", short(old.MaxFreeze), short(policy.MaxFreeze)},
		{"manual_per_day", fmt.Sprint(old.ManualPerDay), fmt.Sprint(policy.ManualPerDay)},
		{"external certificates", fmt.Sprint(old.External), fmt.Sprint(policy.External)},
		{"require_x5c", fmt.Sprint(old.RequireChain), fmt.Sprint(policy.RequireChain)},
		{"manual_burst", fmt.Sprint(old.ManualBurst), fmt.Sprint(policy.ManualBurst)},
	} {
		if n.old != n.new {
			list = append(list, fmt.Sprintf("%s %s becomes %s", n.name, n.old, n.new))
		}
	}
	return list
}

func (p Policy) period() string {
	switch {
	case p.static():
		return "none"
	case p.Manual:
		return "manual"
	}
	return short(p.Period)
}

func (p Policy) retain() string {
	if p.RetainUntilRevoked {
		return "until-revoked"
	}
	return short(p.Retain)
}

// foresee plays on until what policy wants is in force, and tells when that is: for the keys,
// and for each algorithm's own kid. Zero: not by time.
func (k *keyset) foresee(policy Policy, obs Observation, now time.Time) (signs time.Time, own map[jose.SignatureAlgorithm]time.Time) {
	own = map[jose.SignatureAlgorithm]time.Time{}
	doc := k.doc.clone()
	doc.Removed = time.Time{}
	doc.Intents = slices.DeleteFunc(doc.Intents, func(i Intent) bool { return i.Kind == Generate })
	play(doc, policy, obs, now, func(at time.Time, _ Step, d Document) bool {
		if active, ok := d.Active(); ok && active.fits(policy) && signs.IsZero() {
			signs = at
		}
		complete := !signs.IsZero()
		for _, alg := range policy.Algorithms {
			if e, ok := d.entry(alg); ok && e.State == Active && own[alg].IsZero() {
				own[alg] = at
			}
			complete = complete && !own[alg].IsZero()
		}
		return !complete
	})
	return signs, own
}
