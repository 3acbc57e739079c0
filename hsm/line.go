package hsm

import (
	"container/heap"
	"slices"
)

// line is the order in which calls that wait get slots: start-time fair queueing (Goyal, Vin and Cheng,
// SIGCOMM 1996). Each share has a mark; whoever stands at the least is next, and is moved on by its stride for
// each microsecond that the token is expected to take for it. So shares are even in the token's time, and a caller
// with large keys gets fewer signatures than one with small keys, not more of the token.
// A share that comes anew begins where the line is, not where it left off, so that nobody saves
// up turns, and is served before those that had one a moment ago: what a
// caller who asks for little waits does not depend on how much others ask for. Strict
// priority would let one caller shut out all below it; weights for whole priorities would give the one
// caller of a low priority more than each of many of a higher.
type line struct {
	now    uint64 // the mark that was served last; no share that waits is before it
	turns  uint64
	shares map[Share]*standing
	order  standings
}

// standing is a share in the line. One without calls stays for as long as its mark
// is ahead of the line, lest it gain by leaving and coming back.
type standing struct {
	share Share
	mark  uint64
	turn  uint64   // of two at the same mark the one that got there first goes first
	calls []*place // by ticket
	index int      // in the heap
}

// join has p wait behind those of its share that came earlier.
func (l *line) join(p *place) {
	s := l.shares[p.share]
	if s == nil {
		if l.shares == nil {
			l.shares = map[Share]*standing{}
		}
		s = &standing{share: p.share}
		l.shares[p.share] = s
		heap.Push(&l.order, s)
	}
	if len(s.calls) == 0 {
		l.move(s, max(s.mark, l.now))
	}
	i := len(s.calls)
	for i > 0 && s.calls[i-1].ticket > p.ticket {
		i--
	}
	s.calls = slices.Insert(s.calls, i, p)
}

func (l *line) move(s *standing, mark uint64) {
	l.turns++
	s.mark, s.turn = mark, l.turns
	heap.Fix(&l.order, s.index)
}

// leave takes p out, and tells whether it was in.
func (l *line) leave(p *place) bool {
	s := l.shares[p.share]
	if s == nil {
		return false
	}
	i := slices.Index(s.calls, p)
	if i < 0 {
		return false
	}
	s.calls = slices.Delete(s.calls, i, i+1)
	return true
}

// next takes out whose turn it is; nil if nobody waits.
func (l *line) next() *place {
	for len(l.order) > 0 {
		s := l.order[0]
		if len(s.calls) == 0 {
			heap.Pop(&l.order)
			delete(l.shares, s.share)
			continue
		}
		p := s.calls[0]
		s.calls = slices.Delete(s.calls, 0, 1)
		l.now = s.mark
		l.move(s, s.mark+s.share.stride()*p.cost.micros())
		return p
	}
	return nil
}

// standings is a heap (container/heap).
type standings []*standing

func (h standings) Len() int { return len(h) }

func (h standings) Less(i, j int) bool {
	a, b := h[i], h[j]
	switch {
	case a.mark != b.mark:
		return a.mark < b.mark
	case a.share.Priority != b.share.Priority:
		return a.share.Priority > b.share.Priority
	}
	return a.turn < b.turn
}

func (h standings) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *standings) Push(x any) {
	s := x.(*standing)
	s.index = len(*h)
	*h = append(*h, s)
}

func (h *standings) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return s
}
