package door

import "time"

// class is how a caller stands with the door. Each has connections of its own, which no other
// can take.
type class int

const (
	insider  class = iota // root, and the daemon's own user
	known                 // somebody who is granted something
	stranger              // anybody else: whoever may reach the socket, under as many uids as a user namespace has
	classes
)

const (
	// maxConnections are open at once, in all.
	maxConnections = 1024
	// maxStrangers of them are strangers'.
	maxStrangers = 128
	// maxOfStranger is what one user has of those: enough to ask who it is.
	maxOfStranger = 8
)

// quota is how many connections of a class may be open: in all, and of one user.
type quota struct{ all, uid int }

// quotas divides the door where a user may have most connections. The two insiders' are set aside
// for them, so that an operator always gets in.
func quotas(most int) [classes]quota {
	return [classes]quota{
		insider:  {2 * most, most},
		known:    {max(maxConnections-maxStrangers-2*most, most), most},
		stranger: {maxStrangers, min(most, maxOfStranger)},
	}
}

// guest is a connection, as far as admission judges it.
type guest interface {
	comparable
	// silentSince tells when the connection had its last request, and whether it has none in flight.
	silentSince() (since time.Time, idle bool)
}

// admission decides who gets in, and who has to go for that. It is not for several goroutines.
type admission[G guest] struct {
	quotas [classes]quota
	open   [classes]map[uint32]map[G]struct{} // no set is empty
	total  [classes]int
}

func newAdmission[G guest](q [classes]quota) *admission[G] {
	a := &admission[G]{quotas: q}
	for c := range a.open {
		a.open[c] = map[uint32]map[G]struct{}{}
	}
	return a
}

// enter counts g in, if there is a place or one can be made: in a class that is full, by the
// idle connection silent longest of the user who has most and more than the newcomer, so that a flood
// harms who makes it; with an insider, by its own. Where evicted is true, victim is out of the
// count and has to be closed.
func (a *admission[G]) enter(g G, uid uint32, c class) (entered bool, victim G, evicted bool) {
	from := uid
	switch q := a.quotas[c]; {
	case a.of(uid) >= q.uid:
		if c != insider {
			return false, victim, false
		}
		victim, _, evicted = longestSilent(a.open[c][uid])
	case a.total[c] >= q.all:
		victim, from, evicted = a.greediest(c, len(a.open[c][uid]))
	default:
		a.add(g, uid, c)
		return true, victim, false
	}
	if !evicted {
		return false, victim, false
	}
	a.leave(victim, from, c)
	a.add(g, uid, c)
	return true, victim, true
}

func (a *admission[G]) add(g G, uid uint32, c class) {
	if a.open[c][uid] == nil {
		a.open[c][uid] = map[G]struct{}{}
	}
	a.open[c][uid][g] = struct{}{}
	a.total[c]++
}

// leave counts g out; again, it does nothing.
func (a *admission[G]) leave(g G, uid uint32, c class) {
	theirs := a.open[c][uid]
	if _, in := theirs[g]; !in {
		return
	}
	delete(theirs, g)
	a.total[c]--
	if len(theirs) == 0 {
		delete(a.open[c], uid)
	}
}

// of counts a user's connections in all classes: a reload may have changed its own.
func (a *admission[G]) of(uid uint32) int {
	n := 0
	for _, users := range a.open {
		n += len(users[uid])
	}
	return n
}

// greediest finds who has to go, for a user who has so many.
func (a *admission[G]) greediest(c class, has int) (victim G, of uint32, found bool) {
	var at time.Time
	for uid, theirs := range a.open[c] {
		if len(theirs) <= has && (!found || len(theirs) < has) {
			continue
		}
		g, since, idle := longestSilent(theirs)
		if idle && (!found || len(theirs) > has || since.Before(at)) {
			victim, of, at, has, found = g, uid, since, len(theirs), true
		}
	}
	return victim, of, found
}

func longestSilent[G guest](theirs map[G]struct{}) (longest G, at time.Time, found bool) {
	for g := range theirs {
		if since, idle := g.silentSince(); idle && (!found || since.Before(at)) {
			longest, at, found = g, since, true
		}
	}
	return longest, at, found
}
