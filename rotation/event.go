package rotation

import "time"

// bySchedule is who does what Plan wants.
const bySchedule = "schedule"

// What an Event tells of a generation, in the order of its life: begun is not told.
const (
	eventMade      = "made"      // its keys are on the token
	eventAdopted   = "adopted"   // the administrator's keys were found on the token
	eventPublished = "published" // the page shows it
	eventActivated = "activated" // it signs
	eventRetired   = "retired"   // another one signs
	eventDismissed = "dismissed" // the configuration no longer wants it, before it ever signed
	eventWithdrawn = "withdrawn" // it left the page
	eventDestroyed = "destroyed" // its keys left the token
	eventAbandoned = "abandoned" // making it was not finished
	eventRemoved   = "removed"   // a key that an abandoned attempt made late was destroyed
	eventLost      = "lost"      // a key of it is not on the token
	eventFound     = "found"     // it is there again
	eventRevoked   = "revoked"   // a key of it was revoked
	eventChain     = "chain set" // a key of it has a certificate chain from outside
	eventRenewed   = "chain renewed"
)

// What an Event without a generation tells of the keyset.
const (
	eventEntry         = "entry"          // an algorithm's own kid came, signs, or left
	eventFrozen        = "frozen"         // an operator froze it
	eventThawed        = "thawed"         // an operator thawed it
	eventKeysetRemoved = "keyset removed" // an operator took it out of the configuration for good
	eventKeysetBack    = "keyset back"    // it is in the configuration again
	eventClock         = "clock accepted" // an operator accepted the clock as it is
)

func event(what string, generation int, kids []string, now time.Time, why string) Event {
	return Event{At: now, What: what, Generation: generation, KIDs: kids, By: bySchedule, Why: why}
}

// event is what an operator did.
func (a Act) event(what string, generation int, kids []string, now time.Time) Event {
	return Event{At: now, What: what, Generation: generation, KIDs: kids, By: a.By, Why: a.Why}
}
