package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An algorithm's own kid goes through the states of a generation: pending from the page
// that shows it first, active when every verifier can know it, retired when the configuration
// drops it, and gone when no token with it is valid. Meanwhile the algorithm is signed under
// the key's own kid, which never leaves before the key.

// entriesDue tells why the entries of d are not what they should be by now, or "".
func (d Document) entriesDue(policy Policy, due func(time.Time) bool) (why string) {
	for _, e := range d.Entries {
		wanted := slices.Contains(policy.Algorithms, e.Algorithm)
		at, dated := d.next(e, policy, wanted)
		switch {
		case wanted && e.State == Retired:
			return fmt.Sprintf("%s is wanted again", e.Algorithm)
		case !wanted && e.State != Retired:
			return fmt.Sprintf("%s is no longer wanted", e.Algorithm)
		case dated && due(at):
			return fmt.Sprintf("the time of %s has come", e.Algorithm)
		}
	}
	for _, alg := range policy.Algorithms {
		if _, there := d.entry(alg); !there {
			return fmt.Sprintf("%s is new", alg)
		}
	}
	return ""
}

// next is when e is due to leave its state, if that is by time.
func (d Document) next(e Entry, policy Policy, wanted bool) (time.Time, bool) {
	switch {
	case e.State == Pending && wanted && !e.Published.IsZero():
		return latest(e.UsableFrom.Add(d.grown(policy)), e.Published.Add(policy.Lead), d.FrozenUntil), true
	case e.State == Retired && !wanted && !e.RetainUntil.IsZero() && !policy.RetainUntilRevoked:
		return latest(e.RetainUntil, d.FrozenUntil), true
	}
	return time.Time{}, false
}

// entries brings the entries of d to where they should be by now. Since when the page shows
// it, and when signing has stopped, is for settle to say.
func (d Document) entries(policy Policy, now time.Time) (Document, []Event) {
	d = d.clone()
	var events []Event
	tell := func(e Entry, what string) {
		events = append(events, event(eventEntry, 0, nil, now, fmt.Sprintf("%s %s", e.Algorithm, what)))
	}
	var kept []Entry
	for _, e := range d.Entries {
		wanted := slices.Contains(policy.Algorithms, e.Algorithm)
		if wanted && e.State == Retired {
			// It never left the page, so what verifiers know of it still counts.
			e.State, e.Retired, e.RetainUntil = Pending, time.Time{}, time.Time{}
			tell(e, "is wanted again")
		}
		if !wanted && e.State != Retired {
			e.State = Retired
			tell(e, "is retired: the configuration no longer has it")
		}
		if at, dated := d.next(e, policy, wanted); dated && !now.Before(at) {
			if e.State == Retired {
				tell(e, "left the page")
				continue
			}
			e.State = Active
			tell(e, "has a kid of its own from now on")
		}
		kept = append(kept, e)
	}
	for _, alg := range policy.Algorithms {
		if _, there := d.entry(alg); !there {
			e := Entry{Algorithm: alg, State: Pending}
			tell(e, "is pending")
			kept = append(kept, e)
		}
	}
	d.Entries = kept
	return d, events
}

func (d Document) entry(alg jose.SignatureAlgorithm) (Entry, bool) {
	if i := slices.IndexFunc(d.Entries, func(e Entry) bool { return e.Algorithm == alg }); i >= 0 {
		return d.Entries[i], true
	}
	return Entry{}, false
}

// PublishedAlgorithms are those for which the page shows RSA keys under a kid of their own.
func (d Document) PublishedAlgorithms() []jose.SignatureAlgorithm {
	return d.algorithms(func(Entry) bool { return true })
}

// SigningAlgorithms are those that are signed under a kid of their own.
func (d Document) SigningAlgorithms() []jose.SignatureAlgorithm {
	return d.algorithms(func(e Entry) bool { return e.State == Active })
}

func (d Document) algorithms(which func(Entry) bool) (algs []jose.SignatureAlgorithm) {
	for _, e := range d.Entries {
		if which(e) {
			algs = append(algs, e.Algorithm)
		}
	}
	return algs
}
