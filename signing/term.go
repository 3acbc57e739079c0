package signing

import (
	"slices"
	"sync/atomic"
	"time"

	v1 "keysetd.example/api/v1"
)

// term is the time for which a State is the current one, and beyond it that of the requests
// that began then. Counting them takes no lock and no memory.
type term struct {
	state *State
	// holds are the requests under way, one more while the state is the current one, and
	// one while an earlier term is not over. At 0 the term is over, and nobody enters it any more.
	holds atomic.Int64
	over  chan struct{} // closed at its end
	next  *term         // set before the state ceases to be the current one
}

func newTerm(state *State, holds int64) *term {
	t := &term{state: state, over: make(chan struct{})}
	t.holds.Store(holds)
	return t
}

// enter begins a request in the current term, and tells when that was; release ends it.
//
// The clock is read before the state is loaded: a key that is retired later was in the state when
// the request began, so that no exp that is judged from then on lies further behind the key's
// retirement than a token may live (invariant 2).
func (s *Service) enter() (*term, time.Time) {
	start := s.Now()
	for {
		// A term that is over has a successor, which the next look finds.
		if t := s.term.Load(); t.hold() {
			return t, start
		}
	}
}

func (t *term) hold() bool {
	for n := t.holds.Load(); n > 0; n = t.holds.Load() {
		if t.holds.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// release gives up one hold. A term that is over with it lets go of its successor.
func (t *term) release() {
	for t.holds.Add(-1) == 0 {
		close(t.over)
		t = t.next
	}
}

// Swap makes requests that begin from now on use state. Those under way go on with the one
// they began with; drained is closed when none of them does any more, whichever older state
// it was. (Their tokens answer or their time runs out, so that it ends.) An act of Operator
// and Reload are no longer counted while they are done: they may wait for it.
func (s *Service) Swap(state *State) (drained <-chan struct{}) {
	t := newTerm(state, 2)
	old := s.term.Swap(t)
	old.next = t
	old.release()
	return old.over
}

// leave ends the act's hold on its state. It may be called again.
func (a *act) leave() {
	if !a.left {
		a.left = true
		a.term.release()
	}
}

// revokedSince refuses what was signed or decrypted by a key that was revoked since the act began. Whoever
// revokes swaps the state first and then waits until older ones are drained; so what was done either
// sees the revocation here, or is out before the revocation counts as done.
func (s *Service) revokedSince(a *act) *v1.Error {
	now, kid := s.term.Load(), a.usedKID()
	if kid == "" || now == a.term {
		return nil
	}
	ks := now.state.keysets[a.keyset]
	switch {
	case ks == nil || !slices.Contains(ks.revoked, kid):
		return nil
	case a.recipient != nil:
		return recipientRevoked(kid)
	}
	return wasRevoked(kid, "")
}
