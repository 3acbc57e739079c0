package rotation

import (
	"slices"
	"time"
)

// Abandoned is an attempt to make a key that was swept without it being known how it
// ended: the call was cut off, or the daemon was. The token may finish it yet, seconds or an
// epoch later. So it is looked for again and again, and what it made is destroyed, until
// nothing more can be expected of it.
type Abandoned struct {
	Attempt
	Generation int `json:"generation"`
	// Begun is when the attempt was put down, which is before the token was asked.
	Begun time.Time `json:"begun"`
	// Since is when something of it was seen last; while nothing was, when it was swept.
	Since time.Time `json:"since"`
	// Looked is when it was looked for last.
	Looked time.Time `json:"looked"`
	// Clean counts the looks since then that found nothing, in epochs that began after
	// the attempt: in its own the call may be under way still.
	Clean int `json:"clean,omitempty"`
}

const (
	// firstLook is how soon after its sweep an abandoned attempt is looked for again.
	firstLook = time.Minute
	// lateAfter is how long after it was seen last an attempt may leave the record, if by
	// then it was looked for cleanLooks times and nothing was found.
	lateAfter  = 10 * time.Minute
	cleanLooks = 2
	// maxAbandoned bounds the record of a keyset for one token. A token that would go
	// beyond it gets nothing more to make until some have left.
	maxAbandoned = 64
)

// lookAt is when a is to be looked for next, in an epoch that began then: at its start, and
// 1, 2, 4, 8 and 10 minutes after that, or after a was seen last, and ever more seldom from then on.
func (a Abandoned) lookAt(began time.Time) time.Time {
	if a.Looked.Before(began) {
		return began
	}
	from := latest(began, a.Since)
	at, least := a.Looked.Add(max(firstLook, a.Looked.Sub(from))), from.Add(lateAfter)
	if a.Looked.Before(least) && least.Before(at) {
		return least
	}
	return at
}

// abandonedOn returns the abandoned attempts of d on a token.
func (d Document) abandonedOn(token string) []Abandoned {
	return slices.DeleteFunc(slices.Clone(d.Abandoned), func(a Abandoned) bool { return a.Token != token })
}

// abandoned replaces an attempt to make a generation, of which everything that was on the
// token is destroyed, by the record of those of its keys whose end is not known: all but
// those in ended, by CKA_ID.
func (d Document) abandoned(number int, ended map[string]bool, now time.Time) (Document, []Event) {
	intent, _ := d.intent(Generate, number)
	d = d.drop(Generate, number)
	for _, o := range intent.Objects {
		if !ended[string(o.ID)] {
			d.Abandoned = append(d.Abandoned, Abandoned{Attempt: o, Generation: number, Begun: intent.At, Since: now, Looked: now})
		}
	}
	return d, []Event{event(eventAbandoned, number, nil, now, "the attempt to make it was not finished")}
}

// purged puts down how many objects of each abandoned attempt were found and destroyed, in
// an epoch that began then; found is by CKA_ID and names those that were looked for.
// Attempts of which nothing more can come leave the record.
func (d Document) purged(found map[string]int, began, now time.Time) (Document, []Event) {
	d = d.clone()
	var events []Event
	var kept []Abandoned
	for _, a := range d.Abandoned {
		n, looked := found[string(a.ID)]
		if !looked {
			kept = append(kept, a)
			continue
		}
		a.Looked = now
		switch {
		case n > 0:
			a.Since, a.Clean = now, 0
			events = append(events, event(eventRemoved, a.Generation, nil, now, "an abandoned attempt to make it was finished late by token "+a.Token))
		case began.After(a.Begun):
			a.Clean++
		}
		if a.Clean < cleanLooks || now.Before(a.Since.Add(lateAfter)) {
			kept = append(kept, a)
		}
	}
	d.Abandoned = kept
	return d, events
}
