package hsm

import (
	"context"
	"slices"
	"sync"
)

// place is a call's in the queue.
type place struct {
	share    Share
	admitted bool // it had a slot in an epoch that ended: it is never sent away
	cost     cost
	ticket   uint64                  // by when it came; that of the admitted is 0, so that they go first
	sendAway context.CancelCauseFunc // ends its wait
	granted  chan struct{}           // see slots
}

// room bounds how many calls wait, for a slot or for what comes before one, and shares the bound: a
// full room has a place for a newcomer whose share has fewer in it than another, by at least two, which then
// loses its newest. So a flood is cut to what the others leave.
type room struct {
	mu      sync.Mutex
	size    int // of calls in it, those admitted included
	tickets uint64
	of      map[Share][]*place // by ticket; those admitted are not among them
}

// enter lets p in, or not; out is who has to go for it, if anybody.
func (r *room) enter(p *place, limit int) (out *place, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.admitted {
		r.size++
		return nil, true
	}
	if r.size >= limit {
		most := r.largest()
		if len(r.of[most]) < len(r.of[p.share])+2 {
			return nil, false
		}
		out = r.of[most][len(r.of[most])-1]
		r.remove(out)
	}
	if r.of == nil {
		r.of = map[Share][]*place{}
	}
	r.tickets++
	p.ticket = r.tickets
	r.of[p.share] = append(r.of[p.share], p)
	r.size++
	return out, true
}

// largest is the share with the most calls in the room; of several that with the lowest priority.
func (r *room) largest() (most Share) {
	n := 0
	for s, places := range r.of {
		if len(places) > n || len(places) == n && s.Priority < most.Priority {
			most, n = s, len(places)
		}
	}
	return most
}

// leave is for one that was let in; also for one that was sent away.
func (r *room) leave(p *place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.admitted {
		r.size--
	} else {
		r.remove(p)
	}
}

func (r *room) remove(p *place) {
	places := r.of[p.share]
	i := slices.Index(places, p)
	if i < 0 {
		return
	}
	r.size--
	if len(places) == 1 {
		delete(r.of, p.share)
	} else {
		r.of[p.share] = slices.Delete(places, i, i+1)
	}
}
