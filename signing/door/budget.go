package door

import (
	"context"
	"sync"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// budget is something that the callers of the door share: memory, or places.
type budget struct {
	what string // as callers are told
	all  int64  // what there is
	each int64  // what one may have of it, at most

	mu      sync.Mutex
	taken   map[policy.Identity]int64 // never 0
	total   int64
	groups  int64         // of total, what groups have
	changed chan struct{} // closed when something is given back; nil while nobody waits
}

func newBudget(what string, all, each int64) *budget {
	return &budget{what: what, all: all, each: each, taken: map[policy.Identity]int64{}}
}

// room judges whether one who has so much may take n more. Beside a fixed bound, nobody may come
// to have more than then stays free for the others. So there is always room for who is modest: those
// who each have a quarter leave a quarter, and each one after them at least half of what it found.
func room(all, each, total, has, n int64) (ok, own bool) {
	if has+n > each {
		return false, true
	}
	return has+n <= all-total-n, false
}

// room judges whether id may take n more. Half of what there is are groups' not to have, so that users who
// have a rule of their own share that among themselves.
func (b *budget) room(id policy.Identity, n int64) (ok, own bool) {
	ok, own = room(b.all, b.each, b.total, b.taken[id], n)
	if ok && !id.Alone() {
		ok, _ = room(b.all/2, b.each, b.groups, b.taken[id], n)
	}
	return ok, own
}

// move counts n more for id, or with n below 0 fewer.
func (b *budget) move(id policy.Identity, n int64) {
	b.total += n
	if !id.Alone() {
		b.groups += n
	}
	if b.taken[id] += n; b.taken[id] == 0 {
		delete(b.taken, id)
	}
}

// hold is what one request has of a budget.
type hold struct {
	budget *budget
	id     policy.Identity
	taken  int64 // under budget.mu
	freed  bool
}

func (b *budget) hold(id policy.Identity) *hold { return &hold{budget: b, id: id} }

// more takes n more, or says why not.
func (h *hold) more(n int64) *v1.Error {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	return h.take(n)
}

func (h *hold) take(n int64) *v1.Error {
	b := h.budget
	switch ok, own := b.room(h.id, n); {
	case own:
		who := "your user has"
		if !h.id.Alone() {
			who = "all that come by caller " + h.id.Rule + " together have"
		}
		return &v1.Error{Reason: v1.RateLimited, RetryAfterMillis: 1000, Detail: who + " too many " + b.what + " at once; wait for some to end before you send more"}
	case !ok:
		return &v1.Error{Reason: v1.Overloaded, RetryAfterMillis: 1000, Detail: "all callers together have too many " + b.what + " at once; try again soon"}
	case h.freed:
		return nil // its request has ended
	}
	h.taken += n
	b.move(h.id, n)
	return nil
}

// wait is more, when that has become possible, or ctx has ended.
func (h *hold) wait(ctx context.Context, n int64) *v1.Error {
	for {
		h.budget.mu.Lock()
		refused := h.take(n)
		if refused == nil {
			h.budget.mu.Unlock()
			return nil
		}
		if h.budget.changed == nil {
			h.budget.changed = make(chan struct{})
		}
		changed := h.budget.changed
		h.budget.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return refused
		}
	}
}

// keep gives back all but n.
func (h *hold) keep(n int64) {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	back := h.taken - n
	if back <= 0 {
		return
	}
	h.taken -= back
	b.move(h.id, -back)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// free gives back all, for good; again, it does nothing.
func (h *hold) free() {
	h.keep(0)
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.freed = true
}
