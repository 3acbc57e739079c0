package door

import (
	"time"

	"keysetd.example/signing/policy"
)

// class is how a caller stands with the door. Each has connections of its own, which no other
// can take.
type class int

const (
	insider  class = iota // root, and the daemon's own user
	service               // who is granted something as the user that it is
	member                // who is granted something as one of a group, under as many uids as a user namespace has
	stranger              // anybody else: whoever may reach the socket, under as many uids
	classes
)

const (
	// maxConnections are open at once, in all, beside those set aside.
	maxConnections = 1280
	// maxMembers of them are theirs who are granted something only as one of a group.
	maxMembers = 256
	// maxStrangers of them are strangers'.
	maxStrangers = 128
	// maxOfStranger is what one user has of those: enough to ask who it is.
	maxOfStranger = 8
	// aside are the first connections of each that the configuration names: they take no place from
	// others, nor can others take theirs.
	aside = 4
)

// quota is how many connections of a class may be open: in all, and of one identity. The first few of
// each, those set aside, are not counted in all.
type quota struct{ all, each, aside int }

// quotas divides the door where one may have most connections. The two insiders' are set aside
// for them, so that an operator always gets in.
func quotas(most int) [classes]quota {
	return [classes]quota{
		insider:  {all: 2 * most, each: most},
		service:  {all: max(maxConnections-maxMembers-maxStrangers-2*most, most), each: most, aside: aside},
		member:   {all: maxMembers, each: min(most, maxMembers/2), aside: aside},
		stranger: {all: maxStrangers, each: min(most, maxOfStranger)},
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
	open   [classes]map[policy.Identity]map[G]struct{} // no set is empty
	total  [classes]int                                // without those set aside
}

func newAdmission[G guest](q [classes]quota) *admission[G] {
	a := &admission[G]{quotas: q}
	for c := range a.open {
		a.open[c] = map[policy.Identity]map[G]struct{}{}
	}
	return a
}

// enter counts g in, if there is a place or one can be made: in a class that is full, by the
// idle connection silent longest of whoever has most and more than the newcomer, so that a flood
// harms who makes it; with an insider, and with the many of a group, by its own. Where evicted is true, victim is
// out of the count and has to be closed. No connection at work is cut: it would lose a request.
func (a *admission[G]) enter(g G, id policy.Identity, c class) (entered bool, victim G, evicted bool) {
	from := id
	switch q := a.quotas[c]; {
	case a.of(id) >= q.each:
		if c != insider && c != member {
			return false, victim, false
		}
		victim, _, evicted = longestSilent(a.open[c][id])
	case len(a.open[c][id]) >= q.aside && a.total[c] >= q.all:
		victim, from, evicted = a.greediest(c, len(a.open[c][id]))
	default:
		a.add(g, id, c)
		return true, victim, false
	}
	if !evicted {
		return false, victim, false
	}
	a.leave(victim, from, c)
	a.add(g, id, c)
	return true, victim, true
}

func (a *admission[G]) add(g G, id policy.Identity, c class) {
	if a.open[c][id] == nil {
		a.open[c][id] = map[G]struct{}{}
	}
	a.open[c][id][g] = struct{}{}
	if len(a.open[c][id]) > a.quotas[c].aside {
		a.total[c]++
	}
}

// leave counts g out; again, it does nothing.
func (a *admission[G]) leave(g G, id policy.Identity, c class) {
	theirs := a.open[c][id]
	if _, in := theirs[g]; !in {
		return
	}
	if len(theirs) > a.quotas[c].aside {
		a.total[c]--
	}
	delete(theirs, g)
	if len(theirs) == 0 {
		delete(a.open[c], id)
	}
}

// of counts the connections of one in all classes: a reload may have changed its own.
func (a *admission[G]) of(id policy.Identity) int {
	n := 0
	for _, all := range a.open {
		n += len(all[id])
	}
	return n
}

// greediest finds who has to go, for one who has so many.
func (a *admission[G]) greediest(c class, has int) (victim G, of policy.Identity, found bool) {
	var at time.Time
	for id, theirs := range a.open[c] {
		if len(theirs) <= has && (!found || len(theirs) < has) {
			continue
		}
		g, since, idle := longestSilent(theirs)
		if idle && (!found || len(theirs) > has || since.Before(at)) {
			victim, of, at, has, found = g, id, since, len(theirs), true
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
